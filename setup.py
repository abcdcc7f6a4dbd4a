"""What ships, under which name, and what it needs. The settings of the tools are in pyproject.toml.

Every extra here has wheels for x86-64 and for 64-bit ARM (CPython 3.11 to 3.13), which a test asks
the index for, but for `aihwkit` (x86-64, CPython 3.11 and 3.12), and a licence that goes with
Apache-2.0: MIT (onnxruntime, rich, aihwkit, cbor2), Apache-2.0 (ai-edge-litert, tflite-runtime,
onnx, flatbuffers, prometheus-client, cryptography), BSD (NumPy, click, PyTorch, SciPy, dask,
distributed, numba, pyserial, littlefs-python, and paho-mqtt, which may be had under EPL-2.0 or
under BSD-3-Clause, the Eclipse Distribution License 1.0: we take the latter), PSF (matplotlib).
tests: MIT, BSD, Apache-2.0 (smpclient, smpmgr) and MPL-2.0 (hypothesis), none of which ships.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

# Listed one by one, because the names are generic: nothing may enter a wheel by accident. A test
# compares this list with the folders on disk.
PACKAGES = [
    "agent",
    "agent.cli",
    "agent.doctor",
    "agent.fsck",
    "agent.life",
    "agent.link",
    "agent.runtimes",
    "agent.service",
    "agent.simulation",
    "agent.store",
    "agent.watch",
    "agent.workstation",
    "agent.workstation.tflite",
    "calib",
    "calib.graph",
    "calib.graph.operations",
    "calib.importers",
    "calib.schemes",
    "calib.train",
    "device_models",
    "device_models.energy",
    "device_models.fast",
    "device_models.fitting",
    "device_models.memories",
    "device_models.sram",
]

# NumPy 1.26 is the floor, not 2: tflite-runtime breaks with NumPy 2, and boards still use it.
CORE = ["numpy>=1.26", "click>=8.1"]

ONNX_RUNTIME = "onnxruntime>=1.17"
LITERT = "ai-edge-litert>=2.0"  # also carries the TFLite schema that the importer reads with
# The forerunner of ai-edge-litert: for 32-bit boards, and for systems older than that one wants.
# Its last version ends at Python 3.11 and breaks with NumPy 2, which its metadata does not say; on
# later Pythons the extra stands for its successor.
TFLITE = [
    "tflite-runtime==2.14.*; python_version < '3.12'",
    "numpy<2; python_version < '3.12'",
    f"{LITERT}; python_version >= '3.12'",
]
NUMBA = "numba>=0.59"  # the first for Python 3.12; works with NumPy 1.26
SERIAL = ["pyserial>=3.5", "cbor2>=5.4"]
MONITOR = [*SERIAL, "rich>=13", "prometheus-client>=0.20", "paho-mqtt>=2.0"]
HOST = [
    LITERT,
    "onnx>=1.17",
    "flatbuffers>=24.3",
    "matplotlib>=3.8",
    "rich>=13",
    *SERIAL,
]

SIGNING = "cryptography>=42"  # Ed25519; wheels for every Linux, one for all CPython from 3.7 on

CLUSTER = ["dask>=2024.5", "distributed>=2024.5"]

TESTS = ["pytest>=8.2", "pytest-xdist>=3.6", "hypothesis>=6.100"]

EXTRAS = {
    "cluster": CLUSTER,
    "signing": [SIGNING],
    "onnx": [ONNX_RUNTIME],
    "litert": [LITERT],
    "tflite": TFLITE,
    "board": [LITERT, ONNX_RUNTIME, *SERIAL],  # all that a 64-bit board may want
    "numba": [NUMBA],
    "serial": SERIAL,
    "monitor": MONITOR,
    "host": HOST,
    "bench": [
        *HOST,
        "torch>=2.4",  # the rivals of tools/bench_recovery.py; nothing that ships imports it
        "littlefs-python>=0.19",  # the rival of tools/bench_flash.py
    ],
    # Rivals and oracles of the emulator, for an environment of their own (docs/peers.md): aihwkit's
    # tiles were built against PyTorch 2.10, and a checkout of CrossSim runs beside them with SciPy.
    "aihwkit": [
        "aihwkit==1.1.0",
        "torch==2.10.*",
        "scipy>=1.11",
        "pytest>=8.2",
        "hypothesis>=6.100",
    ],
    "tests": TESTS,
    "dev": [
        *HOST,
        *MONITOR,
        "smpclient[serial]>=7.3",  # the other side of the link, unmodified
        "smpmgr>=0.19",
        *CLUSTER,
        ONNX_RUNTIME,
        NUMBA,
        SIGNING,
        "scikit-learn>=1.4",
        *TESTS,
        "build>=1.2",
        # Held to one minor version: a new rule must not break a build that nobody touched.
        "ruff==0.17.*",
        "mypy==2.4.*",
    ],
}


def version() -> str:
    """The version, from the one place that holds it, without importing the package."""
    text = (ROOT / "agent" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit('setup.py: agent/__init__.py has no line `__version__ = "..."`')
    return found.group(1)


setup(
    name="npp-agent",
    version=version(),
    description="Recalibrates a neural network on the device, for the chip that it runs on",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11",
    packages=PACKAGES,
    package_data={
        "agent": ["py.typed", "demo/*.npp", "demo/*.md", "service/*.service"],
        "calib": ["py.typed"],
        "device_models": ["py.typed"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["npp-agent = agent.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
