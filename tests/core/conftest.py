"""What the tests of the kernels share."""

from contextlib import contextmanager

import pytest

from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level


@pytest.fixture(scope="session")
def at_level():
    """Run the kernels of a level in a `with` block, as if the CPU had no higher one; skip if it does not have this one.

    `FLAGVEC_KERNELS` does the same for a process, which reads it once.
    """

    @contextmanager
    def use(level):
        if availability._compiled is None:
            pytest.skip("the kernels were not built")
        if availability._compiled.cpu_level() < level:
            pytest.skip(f"no {level} on this CPU")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(availability, "level", lambda: level)
            yield

    return use


@pytest.fixture(params=[Level.AVX2, Level.AVX512, Level.AMX], ids=str)
def level(request, at_level):
    """Each level that has kernels of its own for attention and for few rows."""
    with at_level(request.param):
        yield request.param
