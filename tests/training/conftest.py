import pytest
from PIL import Image
from skimage import data


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of two photographs, 110 x 90 px."""
    folder = tmp_path_factory.mktemp("photos")
    for name, pixels in (("cat", data.chelsea()), ("cup", data.coffee())):
        Image.fromarray(pixels[:90, :110]).save(folder / f"{name}.png")
    return folder
