"""A small space of clips, for every recipe."""

from fourfold_video.space import Video

SPACES = {"clips": Video(4, 8, 8, n_values=17, frames=4)}
