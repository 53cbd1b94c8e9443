"""The guest is what the other tests take it for. Without these, a wrong kernel or a hybrid hierarchy would make the run green for nothing."""

import os
import platform

import pytest

pytestmark = pytest.mark.guest


def test_kernel_is_of_the_promised_age():
    major, minor = (int(part) for part in platform.release().split(".")[:2])
    assert (major, minor) in [(6, 1), (6, 12)]


def test_control_groups_are_v2_alone():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        kinds = [(line.split()[1], line.split()[2]) for line in mounts if line.split()[2].startswith("cgroup")]
    assert kinds == [("/sys/fs/cgroup", "cgroup2")]


def test_controllers_that_limits_need_are_there():
    with open("/sys/fs/cgroup/cgroup.controllers", encoding="utf-8") as controllers:
        assert {"cpu", "memory", "pids", "io"} <= set(controllers.read().split())


def test_landlock_is_on():
    with open("/sys/kernel/security/lsm", encoding="utf-8") as modules:
        assert "landlock" in modules.read().split(",")


def test_temporary_files_are_on_a_file_system_that_can_be_id_mapped():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        root = [line.split()[2] for line in mounts if line.split()[1] == "/"]
    assert root[-1] == "ext4"
    assert os.stat("/tmp").st_dev == os.stat("/").st_dev
