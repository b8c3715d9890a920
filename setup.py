# SPDX-License-Identifier: Apache-2.0
"""Calls CMake. Everything else stands in pyproject.toml and CMakeLists.txt."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path
from sysconfig import get_path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMakeBuild(build_ext):
    def build_extension(self, ext):
        source = Path(__file__).parent.resolve()
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = source / "build" / f"cmake-{sys.implementation.cache_tag}"
        # Given at every call: an isolated build's paths are gone by the next one.
        options = [f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}", f"-DPython_EXECUTABLE={sys.executable}"]
        options += [f"-Dpybind11_DIR={Path(util.find_spec('pybind11').origin).parent / 'share/cmake/pybind11'}"]
        if ninja := shutil.which("ninja"):
            options += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        options += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        subprocess.run(["cmake", "-S", source, "-B", build, *options], check=True)
        subprocess.run(["cmake", "--build", build, "--parallel"], check=True)


# An environment without torch gets one for the build alone; one with torch keeps it, and CMake finds it there.
no_torch = util.find_spec("torch") is None and not Path(get_path("purelib"), "torch").is_dir()
setup(
    ext_modules=[Extension("fasthash._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    setup_requires=["torch>=2.10"] if no_torch else [],
)
