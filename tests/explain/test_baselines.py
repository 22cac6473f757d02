import pytest
import torch

from hpa.explain.baselines import build_baseline, segment_means
from hpa.explain.perturbation_config import (
    BackgroundMeanBaseline,
    BackgroundSampleBaseline,
    BlackBaseline,
    BlurredBaseline,
    SegmentMeanBaseline,
)

IMAGE = torch.rand(4, 20, 30, generator=torch.Generator().manual_seed(0)) * 255
BACKGROUND = torch.randint(0, 256, (5, 4, 20, 30), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def test_black():
    assert build_baseline(BlackBaseline(), IMAGE).tolist() == torch.zeros(1, 4, 20, 30).tolist()


def test_blurred_keeps_brightness_and_loses_detail():
    blurred = build_baseline(BlurredBaseline(sigma=0.2), IMAGE)
    assert blurred.shape == (1, 4, 20, 30)
    assert blurred.mean(dim=(2, 3))[0].tolist() == pytest.approx(IMAGE.mean(dim=(1, 2)).tolist(), rel=0.1)
    assert blurred.std() < 0.2 * IMAGE.std()


def test_mean_of_a_background_sample():
    over_pixels = build_baseline(BackgroundMeanBaseline(over="pixels"), IMAGE, BACKGROUND)
    over_images = build_baseline(BackgroundMeanBaseline(over="images"), IMAGE, BACKGROUND)
    assert over_images.dtype == torch.float32
    torch.testing.assert_close(over_images[0], BACKGROUND.float().mean(0))
    torch.testing.assert_close(over_pixels[0, :, 7, 9], BACKGROUND.float().mean(dim=(0, 2, 3)))
    assert (over_pixels == over_pixels[:, :, :1, :1]).all()


def test_a_background_sample_is_taken_whole():
    torch.testing.assert_close(build_baseline(BackgroundSampleBaseline(), IMAGE, BACKGROUND), BACKGROUND.float())


def test_mean_of_each_segment():
    segments = torch.zeros(20, 30, dtype=torch.int64)
    segments[:, 10:] = 1
    segments[15:] = -1
    means = build_baseline(SegmentMeanBaseline(), IMAGE, None, segments)[0]
    for number in (-1, 0, 1):
        part = segments == number
        for channel in range(4):
            assert means[channel][part].unique().numel() == 1
            assert means[channel][part][0].item() == pytest.approx(IMAGE[channel][part].mean().item(), rel=1e-5)
    assert segment_means(IMAGE, segments).tolist() == means.tolist()


@pytest.mark.parametrize("config", [BackgroundMeanBaseline(), BackgroundSampleBaseline()])
def test_a_missing_or_wrong_background_is_refused(config):
    with pytest.raises(ValueError, match=r"background sample, but none was given.*black or blurred"):
        build_baseline(config, IMAGE)
    with pytest.raises(ValueError, match="none was given"):
        build_baseline(config, IMAGE, BACKGROUND[:0])
    with pytest.raises(ValueError, match=r"\(4, 20, 30\).*\(4, 20, 29\)"):
        build_baseline(config, IMAGE, BACKGROUND[..., :29])
