"""One small synthetic set that all tests of this folder read; none of them changes it."""

import pytest

from hoi_lib.data import synthetic


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """36 clips, three of each verb."""
    return synthetic.build(tmp_path_factory.mktemp("data") / "small", "smoke", clips=36, workers=2, progress=False)
