"""Compile the C kernels of `core/` while a wheel is built, if this machine can."""

from __future__ import annotations

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

    Without a compiler that knows AMX the wheel has no kernels. It encodes the same vectors, but slower.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the kernels for a wheel on Linux on x86-64, and do nothing for others."""
        if self.target_name != "wheel" or sys.platform != "linux" or platform.machine() != "x86_64":
            return
        built = _compile(Path(self.root))
        if not built.exists():
            self.app.display_warning(
                f"{KERNELS} could not be compiled, so encoding in bfloat16 on CPUs is slower; install gcc 11 or newer"
            )
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
