"""Compiles the C kernels of `core/` into the wheel.

The environment variable FLAGVEC_BUILD_KERNELS chooses. "1" compiles the kernels and fails without them. "0" builds the
wheel for every platform, without kernels. Unset, the kernels are compiled if this machine has a compiler for them.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

KERNELS = Path("core/flagvec/engine/kernels")
MODULE = "_compiled"
# The oldest Python whose stable ABI the kernels use.
PYTHON = "cp310"


class KernelBuilder(BuildHookInterface):
    """Compiles the kernels beside their sources and adds them to the wheel, which then fits this platform only.

    A distribution without kernels gives the same results, but encodes more slowly on x86-64 CPUs.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the kernels, unless for another platform or a source distribution.

        Raises:
            ValueError: FLAGVEC_BUILD_KERNELS is neither "0" nor "1".
            RuntimeError: FLAGVEC_BUILD_KERNELS is "1" and the kernels cannot be compiled.
        """
        asked = os.environ.get("FLAGVEC_BUILD_KERNELS", "")
        if asked not in ("", "0", "1"):
            raise ValueError(f"FLAGVEC_BUILD_KERNELS={asked!r}: use '1', '0', or leave it unset")
        if self.target_name != "wheel" or asked == "0":
            return
        fits = sys.platform == "linux" and platform.machine() == "x86_64"
        built = _compile(Path(self.root)) if fits else None
        if built is None or not built.exists():
            missing = f"{KERNELS} could not be compiled for {sysconfig.get_platform()}"
            if asked == "1":
                raise RuntimeError(f"{missing}: the kernels need Linux on x86-64 and gcc 11 or newer")
            if fits:
                self.app.display_warning(f"{missing}: encoding on CPUs will be slower")
            return
        platform_tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"{PYTHON}-abi3-{platform_tag}"
        build_data["artifacts"].append(f"/{KERNELS}/{built.name}")


def _compile(root: Path) -> Path:
    kernels = Extension(
        f"{'.'.join(KERNELS.parts)}.{MODULE}",
        sources=sorted(str(source.relative_to(root)) for source in (root / KERNELS).glob("*.c")),
        depends=sorted(str(header.relative_to(root)) for header in (root / KERNELS).glob("*.h")),
        libraries=["m"],
        extra_compile_args=["-O3", "-g0", "-std=gnu11"],
        py_limited_api=True,
        optional=True,
    )
    command = Distribution({"ext_modules": [kernels]}).get_command_obj("build_ext")
    command.build_temp = str(root / "build" / "kernels")
    command.build_lib = str(root)
    command.ensure_finalized()
    built = root / KERNELS / f"{MODULE}.abi3.so"
    built.unlink(missing_ok=True)
    command.run()
    return built
