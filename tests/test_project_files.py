"""Files that name the same servers or versions agree."""

from pathlib import Path

import pytest
import yaml

import flagvec

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.test.yml").read_text())
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
SERVICES = CI["jobs"]["servers"]["services"]


def ports_of(service):
    """Return each published port with the container's, without the address that it is published on."""
    return [tuple(port.split(":")[-2:]) for port in service["ports"]]


def test_both_start_the_same_servers():
    assert SERVICES.keys() == COMPOSE["services"].keys()


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_container_is_the_one_of_docker_compose(name):
    service, composed = SERVICES[name], COMPOSE["services"][name]
    assert service["image"] == composed["image"]
    assert service.get("env") == composed.get("environment")
    assert service.get("command", "").split() == composed.get("command", [])
    assert ports_of(service) == ports_of(composed)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_container_has_the_health_check_intervals_of_docker_compose(name):
    check = COMPOSE["services"][name]["healthcheck"]
    for option in ("interval", "timeout", "retries"):
        assert f"--health-{option} {check[option]}" in SERVICES[name]["options"]


def test_the_oldest_and_the_newest_python_of_the_package_are_tested():
    classifiers = (ROOT / "pyproject.toml").read_text()
    versions = CI["jobs"]["test"]["strategy"]["matrix"]["python"]
    for version in versions:
        assert f'"Programming Language :: Python :: {version}"' in classifiers
    oldest, newest = versions
    assert f'requires-python = ">={oldest}"' in classifiers
    assert f'"Programming Language :: Python :: 3.{int(newest.split(".")[1]) + 1}"' not in classifiers


def test_the_citation_names_the_version_of_the_package():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == flagvec.__version__
