"""Roles of tensors in training code: what a name or a function's name says of a value, and what a loss of two roles means."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fourfold.atlas.evidence import Claim as C  # noqa: N817

__all__ = ["NONE", "Roles", "family", "function", "hint", "is_loader", "verdict"]

#: where a value comes from: ``data``, ``noise``, ``noised``, ``label``, ``latent``, ``fake``, ``time``, ``diff`` (data minus noise), ``earlier`` and ``later``
#: (a sequence without its last or first piece), ``constant``, ``flat``, ``loss``, ``pred`` (a network's answer) and ``of:role`` (what it was asked about)
Roles = frozenset[str]
NONE: Roles = frozenset()

#: what a name says of itself where nothing was assigned to it
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (role, re.compile(pattern))
    for role, pattern in (
        ("noise", r"^(?:noise\w*|eps|epsilon|eps_\w+|\w+_noise|rnd_normal|z_noise)$"),
        ("noised", r"^(?:noisy\w*|x_?t|z_?t|x_noisy|perturbed\w*|noised\w*|\w+_noisy|latents_noisy)$"),
        ("fake", r"^(?:fakes?|fake_\w+|\w+_fakes?|gen_(?:imgs?|images?|data|samples?)|generated\w*|g_z|gz|x_?fake)$"),
        (
            "label",
            r"^(?:y|ys|labels?|targets?|gts?|\w+_labels?|\w+_targets?|y_true|ground_?truth|y_batch|batch_y|classes|rewards?)$",
        ),
        ("latent", r"^(?:z|z_|zs|latents?|codes?|mu|means?|loc|z_mean|mu_\w+|z_\w+|hidden|h|emb\w*)$"),
        (
            "time",
            r"^(?:t|ts|timesteps?|sigmas?|times?|std|alpha\w*|beta\w*|\w*alphas?_\w+|sqrt_\w+|scale|weight\w*|lambda\w*)$",
        ),
        (
            "data",
            r"^(?:x|xs|x_|x_?0|x_?1|x_start|data|batch|inputs?|imgs?|images?|real\w*|\w+_real|audio|wav\w*|mels?|samples|tokens|input_ids|ids|seq\w*|"
            r"x_batch|batch_x|examples?|features|observations?|obs|actions?|text|src|hr|lr|clean\w*|pos_\w+)$",
        ),
    )
)

#: what a function's name says of its value; the first that matches counts
_FUNCTIONS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("noise", r"^(?:randn(?:_like)?|normal_?|normal_like|standard_normal|random_normal|gauss\w*)$"),
        ("time", r"^(?:rand|rand_like|uniform_?|randint|random_uniform|random|log_?normal)$"),
        ("constant", r"^(?:ones_like|zeros_like|ones|zeros|full_like)$"),
        (
            "noised",
            r"^(?:q_sample|add_noise|perturb\w*|add_gaussian_noise|noise_images|forward_diffusion\w*|diffuse|corrupt\w*|q_xt|sample_xt|get_noisy\w*)$",
        ),
        ("shapes", r"^(?:view|reshape|flatten|rearrange)$"),
        (
            "keeps",
            r"^(?:to|float|double|half|cuda|cpu|type|detach|contiguous|clone|(?:un)?squeeze|permute|transpose|expand|repeat|mean|sum|cat|concat(?:enate)?|stack|"
            r"clamp|clip|log|exp|sqrt|abs|pow|square|Variable|tensor|as_tensor|stop_gradient|requires_grad_|long|int|astype|numpy|item|t|chunk|split|where|gather|"
            r"masked_fill|normalize|tanh|sigmoid|(?:log_)?softmax|relu|repeat_interleave|expand_dims|tile|roll|pad|mul|add|sub|div|einsum|matmul|bmm|asarray|array|"
            r"tuple|list|next|iter|append|Tensor|FloatTensor|data|\w*aug\w*|transform\w*|preprocess\w*|resize\w*|\w*crop\w*|normali[sz]e\w*|quantize_\w+|rescale\w*|"
            r"scale_\w+|prepare_\w+|shift_\w+)$",
        ),
        (
            "nothing",
            r"^(?:len|range|zip|enumerate|print|isinstance|getattr|int|str|max|min|arange|full|empty|size|shape|format|dict|set|sorted|backward|step|zero_grad|"
            r"update|save\w*|log_\w+|sample_t\w*)$",
        ),
        ("latent", r"^(?:encode\w*|encoder\w*|enc|posterior|get_latent\w*|reparam\w*)$"),
    )
)

#: kinds of losses, by name
_LOSSES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "square",
            r"^(?:mse\w*|l1\w*|l2\w*|smooth_l1\w*|huber\w*|squared_error|mean_squared_error|mae|MSE\w*|L1\w*|SmoothL1\w*|mean_flat)$",
        ),
        (
            "cross",
            r"(?i)^(?:cross_entropy\w*|nll_loss|nll|CrossEntropy\w*|NLL\w*|sparse_softmax\w*|sparse_categorical\w*|softmax_cross_entropy\w*|categorical_cross\w*)$",
        ),
        ("binary", r"(?i)^(?:bce\w*|binary_cross_entropy\w*|sigmoid_focal\w*|adversarial_loss|hinge\w*)$"),
        (
            "any",
            r"^(?:criterion\w*|loss_fn\w*|loss_func\w*|loss_fct|loss|loss_f|compute_loss|objective|\w+_criterion|\w+_loss_fn|\w*_loss)$",
        ),
    )
)
_LOADER = re.compile(r"load|batch|dataset|train_\w*(?:data|set|iter)|data_?iter|enumerate|\bdata\b", re.I)


def hint(name: str) -> Roles:
    """The role that a bare name suggests."""
    return next((frozenset({role}) for role, pattern in _NAMES if pattern.match(name.lower())), NONE)


def function(name: str) -> str:
    """What kind of value a function of this name returns, or an empty string."""
    return next((kind for kind, pattern in _FUNCTIONS if pattern.match(name)), "")


def family(name: str) -> str:
    """The kind of loss of this name: ``square``, ``cross``, ``binary``, ``any``, or an empty string."""
    return next((kind for kind, pattern in _LOSSES if pattern.match(name)), "")


def is_loader(text: str) -> bool:
    """Whether a loop over this expression hands out batches."""
    return bool(_LOADER.search(text))


def verdict(a: Roles, b: Roles, kind: str) -> Iterator[tuple[C, float]]:
    """What a loss of a network's answer ``a`` against ``b`` says, and how strongly."""
    of = {role[3:] for role in a if role.startswith("of:")}
    target = {role for role in b if not role.startswith("of:")} - {"flat", "time"}
    if "constant" in target:
        if "fake" in of | a:
            yield C.GAME, 2.5
    elif kind == "cross" or (kind == "any" and "flat" in a | b):
        yield from _pieces(a, of, target, "flat" in a | b)
    elif "pred" in a and target:
        yield from _values(of, target, kind)


def _pieces(a: Roles, of: set[str], target: set[str], flat: bool) -> Iterator[tuple[C, float]]:
    if "later" in target or "earlier" in of or ("later" in a and "earlier" in target):
        yield C.NEXT_PIECE, 3.5
    elif "label" in target and not flat and "pred" in a and "pred" not in target:
        yield C.LABELS, 2.5
    elif flat and "data" in target and "data" in of and not target & {"label", "pred"}:
        yield C.NEXT_PIECE, 2.0


def _values(of: set[str], target: set[str], kind: str) -> Iterator[tuple[C, float]]:
    if "noised" in of and target & {"noise", "data", "diff", "label", "latent"}:
        yield (C.VELOCITY if "diff" in target else C.DENOISE), 3.5
    elif kind == "binary":
        if "label" in target and not of & {"fake", "noise"}:
            yield C.LABELS, 2.0
    elif "data" in of and not of & {"noise", "fake"}:
        if "label" in target:
            yield C.REGRESSION, 2.0 if kind == "square" else 1.0
        elif "data" in target and "pred" not in target:
            yield (C.REGRESSION if "later" in target else C.REBUILD), 2.0
    elif "latent" in of and "data" in target and kind == "square":
        yield C.REBUILD, 1.5
