"""Random views: what they change and what they must not."""

import pytest
import torch

from alservice.errors import BadConfig
from alservice.network.augment import Augmentation, augment

STILL = Augmentation(zoom=1.0, shift=0.0, contrast=0.0)


def views(images, config, *, output_px, seed=0):
    """Return one view of each image."""
    return augment(images, config, output_px=output_px, generator=torch.Generator().manual_seed(seed))


def disc(n, side_px, *, x=0.0, y=0.0, radius=3.0):
    """Return n images with one soft disc at an offset (px) from the centre."""
    axis = torch.arange(side_px) - (side_px - 1) / 2
    distance = torch.hypot(axis[None] - x, axis[:, None] - y)
    return (255 * torch.exp(-((distance / radius) ** 2))).byte().expand(n, 1, -1, -1)


def moments(pixels):
    """Return the centre of light (B, 2) in px from the middle, and its mean square radius (B,)."""
    axis = torch.arange(pixels.shape[-1]) - (pixels.shape[-1] - 1) / 2
    light = pixels[:, 0] / pixels[:, 0].sum((1, 2), keepdim=True)
    x, y = (light.sum(1) * axis).sum(1), (light.sum(2) * axis).sum(1)
    spread = (light * ((axis[None, :, None] - y[:, None, None]) ** 2 + (axis - x[:, None, None]) ** 2)).sum((1, 2))
    return torch.stack([x, y], dim=1), spread


def test_rotation_keeps_distances_and_uses_all_angles():
    """A disc off centre stays at its distance and goes to every quadrant, at odd angles too."""
    centre, _ = moments(views(disc(200, 33, x=8.0), STILL, output_px=33))
    torch.testing.assert_close(centre.norm(dim=1), torch.full((200,), 8.0), atol=0.1, rtol=0)
    angles = torch.atan2(centre[:, 1], centre[:, 0])
    assert len(torch.histc(angles, 12, -torch.pi, torch.pi).nonzero()) == 12


def test_mirror_images_occur():
    """About half of the views are mirrored: the sense of a spiral is no clue."""
    two = (disc(200, 33, x=8.0) // 2 + disc(200, 33, y=8.0)).float()
    pixels = views(two.byte(), STILL, output_px=33)[:, 0]
    axis = torch.arange(33) - 16.0

    def direction(light):
        return torch.atan2((light.sum(2) * axis).sum(1), (light.sum(1) * axis).sum(1))

    strong, weak = direction(pixels.clamp(min=0.6) - 0.6), direction(pixels.clamp(max=0.4) * (pixels < 0.4))
    turn = torch.sin(strong - weak)
    assert 0.35 < (turn > 0).float().mean() < 0.65


def test_the_view_is_the_centre_at_the_same_scale():
    """Without zoom a smaller view crops: a disc in the middle keeps its size."""
    wide, narrow = (views(disc(5, 40), STILL, output_px=side) for side in (40, 20))
    assert narrow.shape == (5, 1, 20, 20)
    torch.testing.assert_close(moments(narrow)[1], moments(wide)[1], rtol=0.03, atol=0)


def test_zoom_and_shift_stay_in_their_ranges():
    """Sizes vary by the square of the zoom, centres by the shift, and both use their range."""
    centre, spread = moments(views(disc(300, 40), Augmentation(zoom=1.3, shift=0.1, contrast=0), output_px=40))
    relative = torch.sqrt(spread / moments(disc(1, 40).float())[1])
    assert 1 / 1.33 < relative.min() < 0.82
    assert 1.22 < relative.max() < 1.33
    assert 4.5 < centre.norm(dim=1).max() < 4.0 * 2**0.5 * 1.35


def test_contrast_moves_pixels_about_their_mean():
    """Contrast changes the spread of the pixels of an image by at most its share, and not their mean."""
    images = disc(100, 24)
    plain, changed = (views(images, Augmentation(zoom=1, shift=0, contrast=c), output_px=24) for c in (0.0, 0.2))
    torch.testing.assert_close(changed.mean((1, 2, 3)), plain.mean((1, 2, 3)))
    ratio = changed.std((1, 2, 3)) / plain.std((1, 2, 3))
    assert 0.8 <= ratio.min() < 0.83
    assert 1.17 < ratio.max() <= 1.2


def test_each_image_has_its_own_view():
    """Equal images in a batch get different views; the generator decides which."""
    pixels = views(disc(2, 24, x=4.0), Augmentation(), output_px=24)
    assert not torch.allclose(pixels[0], pixels[1], atol=0.05)
    assert torch.equal(pixels, views(disc(2, 24, x=4.0), Augmentation(), output_px=24))
    assert not torch.equal(pixels, views(disc(2, 24, x=4.0), Augmentation(), output_px=24, seed=1))


@pytest.mark.parametrize("wrong", [{"zoom": 0.9}, {"shift": 0.5}, {"contrast": 1.0}, {"contrast": -0.1}])
def test_ranges_that_make_no_image_are_refused(wrong):
    """A zoom below 1 or a contrast that inverts the image is a configuration error."""
    with pytest.raises(BadConfig):
        Augmentation(**wrong)
