"""Metadata and extras of gaitext. Each dependency is justified in docs/dependencies.md."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools_scm import get_version

HERE = Path(__file__).parent
#: Where neither git's tags nor an sdist's PKG-INFO tell the version: before the release that is worked on.
FALLBACK_VERSION = "0.1.0.dev0"

EXTRAS = {
    "video": ["av>=14", "pillow>=9.4"],
    "onnx": ["onnxruntime>=1.17"],
    "standalone": ["lightning>=2.4", "tensorboard>=2.14", "torchmetrics>=1.9"],
    "plot": ["matplotlib>=3.7"],
    "coco": ["pycocotools>=2.0.6"],
    "export": ["onnx>=1.16", "onnxruntime>=1.20", "onnxscript>=0.5"],
    "detr": ["transformers>=4.48", "torchvision"],
    "track": ["trackers>=2.6"],
    "vitpose": ["transformers>=4.48"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
# Not part of "all": one machine does without it, and it is the one that lags behind new Pythons.
EXTRAS["ray"] = ["ray>=2.9"]
# Nor is what OpenMMLab's packages import; they themselves are installed with --no-deps, as two of
# them ask for another OpenCV and for compiled code that is not used (docs/estimators.md).
EXTRAS["mmpose"] = [
    "addict>=2.4",
    "einops>=0.6",
    "importlib_metadata",
    "json-tricks>=3.16",
    "mat4py>=0.6",
    "matplotlib>=3.7",
    "modelindex",
    "munkres>=1.1",
    "numpy>=1.24,<2",
    "opencv-python-headless>=4.6,<4.11",
    "packaging",
    "pillow>=9.4",
    "pycocotools>=2.0.6",
    "scipy>=1.10",
    "setuptools<81",
    "shapely>=2",
    "six",
    "termcolor>=2",
    "terminaltables>=3.1",
    "torchvision",
    "tqdm",
    "xtcocotools>=1.14",
    "yapf>=0.40",
]
EXTRAS["docs"] = [
    "mkdocs>=1.6,<2",
    "mkdocs-jupyter>=0.25",
    "mkdocs-material>=9.6",
    "mkdocstrings[python]>=1",
]
EXTRAS["test"] = [
    *EXTRAS["all"],
    *EXTRAS["docs"],
    *EXTRAS["ray"],
    "build>=1.2",
    "hypothesis>=6.100",
    "mypy>=1.10",
    "pytest>=8",
    "pytest-xdist>=3.5",
    "pytorch-metric-learning>=2.5",
    "ruff>=0.6",
    "setuptools>=77",
    "setuptools-scm>=8",
    "twine>=6.1",
    "types-PyYAML",
]

setup(
    name="gaitext",
    version=get_version(root=HERE, fallback_version=FALLBACK_VERSION),
    description="Gait recognition from pose-estimator heatmaps, plugged into OpenGait.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # The folder configs goes into the package, where gaitext.config looks for it first.
    packages=[*find_packages(include=["gaitext", "gaitext.*"]), "gaitext.configs"],
    package_dir={"gaitext.configs": "configs"},
    package_data={
        "gaitext": ["py.typed", "*.yaml", "**/*.yaml", "**/*.json", "**/*.safetensors", "**/NOTICE", "**/templates/*"],
        "gaitext.configs": ["*/*.yaml", "*/*/*.yaml"],
    },
    install_requires=[
        "filelock>=3.21",
        "jinja2>=3.1",
        "numpy>=1.24",
        "pydantic>=2.6",
        "PyYAML>=6",
        "rich>=13",
        "ruamel.yaml>=0.18",
        "safetensors>=0.4.3",
        "scikit-learn>=1.3",
        "scipy>=1.10",
        "torch>=2.4",
        "typer>=0.12",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["gaitext = gaitext.cli:main"]},
    keywords=["gait recognition", "pose estimation", "heatmaps", "OpenGait", "FastPoseGait"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: Microsoft :: Windows",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
