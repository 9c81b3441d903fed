"""Everything is in pyproject.toml, except what it cannot say: two top-level folders that become
package data, `pipelines/` and `schemas/`, without listing every package by hand."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["imig", "imig.*"]), "imig.pipelines", "imig.schemas"],
    package_dir={"imig.pipelines": "pipelines", "imig.schemas": "schemas"},
    package_data={
        "imig": ["py.typed", "weights/**"],
        "imig.pipelines": ["*.yaml"],
        "imig.schemas": ["*.json"],
    },
)
