"""Zones by name: temporary ones, kept ones, those made by hand; and the commands beside `sandbox`."""

import signal

import pytest

from support.instance import REPOSITORY, zones_of
from support.waiting import eventually


def names(instance):
    return [zone["name"] for zone in instance.zones()]


def test_temporary_zone_is_gone(rauha):
    document = rauha.sandbox("true").task("succeeded", 0)
    assert document["zone_kept"] is False
    assert document["zone_id"] not in [zone["id"] for zone in rauha.zones()]


def test_zone_is_gone_after_every_end(rauha, policy_file):
    for command, options in ((["false"], []), (["no-such-command"], []), (["sleep", "60"], ["--timeout", "300ms"]), (["/etc/passwd"], []),
                             (["python3", "-c", "x = bytearray(256 << 20)"], policy_file(resources={"memory": "64MiB"}))):
        rauha.sandbox(*command, options=["--name", "ends", *options])
        assert "ends" not in names(rauha)


def test_kept_zone(rauha):
    document = rauha.sandbox("true", options=["--keep-zone", "--name", "kept"]).task("succeeded", 0)
    try:
        assert document["zone_kept"] is True and document["zone_name"] == "kept"
        zone = [zone for zone in rauha.zones() if zone["name"] == "kept"][0]
        assert zone["id"] == document["zone_id"] and zone["state"] == "ready" and zone["policy"] == "task"
        for key in ("kept", zone["id"]):
            shown = rauha.run("zone", "show", "--json", key).exited(0)
            info = shown.json.get("zone", shown.json)
            assert info["id"] == zone["id"] and info["shim_pid"] > 0, shown.explain()
    finally:
        rauha.run("zone", "delete", "--json", "kept").exited(0).json
    assert "kept" not in names(rauha)


def test_kept_zone_with_processes_is_deleted_by_force_only(rauha):
    rauha.sandbox("sh", "-c", "sleep 300 >/dev/null 2>&1 & sleep 300 >/dev/null 2>&1 &", options=["--keep-zone", "--name", "busy"]).task("succeeded", 0)
    refused = rauha.run("zone", "delete", "--json", "busy").refused(1, "zone", "conflict", ("2 processes", "busy", "--force"))
    assert refused["object"] == "busy" and "busy" in names(rauha)
    rauha.run("zone", "delete", "--json", "busy", "--force").exited(0)
    assert "busy" not in names(rauha)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_posture_of_a_zone_outlives_its_daemon(fresh, how):
    ran = fresh.sandbox("true", options=["--keep-zone", "--name", "kept"]).task("succeeded", 0)["posture"]
    fresh.run("zone", "create", "--name", "made", "--json").exited(0)
    before = {name: fresh.run("zone", "show", name, "--json").exited(0).json["zone"]["posture"] for name in ("kept", "made")}
    assert before["kept"] == ran
    if how == "kill":
        fresh.kill_daemon()
    else:
        fresh.run("daemon", "stop", "--json").exited(0)
        assert fresh.daemon_pid() is None, "stop came back before the daemon was gone"
    for name, posture in before.items():
        assert fresh.run("zone", "show", name, "--json").exited(0).json["zone"]["posture"] == posture
        fresh.run("zone", "delete", name, "--json").exited(0)


def test_kept_zone_after_a_failure(rauha):
    rauha.sandbox("false", options=["--keep-zone", "--name", "failed"]).task("failed", 1)
    assert "failed" in names(rauha)
    rauha.run("zone", "delete", "--name", "failed", "--json").exited(0)


def test_delete_of_nothing(rauha):
    result = rauha.run("zone", "delete", "--json", "nothing")
    result.check(result.returncode != 0, "deleting nothing succeeded").refused(result.returncode, "zone", "not_found", "nothing")


def test_show_of_nothing(rauha):
    result = rauha.run("zone", "show", "--json", "nothing")
    result.check(result.returncode != 0, "showing nothing succeeded").refused(result.returncode, "zone", "not_found", "nothing")


def test_zone_by_hand(rauha):
    arguments = ["--policy", str(REPOSITORY / "policies" / "standard.toml")]
    created = rauha.run("zone", "create", "--json", "--name", "by-hand", *arguments).exited(0)
    try:
        assert created.json["state"] == "ready" and created.json["policy"] == "standard" and created.json["temporary"] is False
        again = rauha.run("zone", "create", "--json", "--name", "by-hand", *arguments)
        again.check(again.returncode != 0, "the name was taken").refused(again.returncode, ("zone", "store"), "exists", "by-hand")
        assert "by-hand" in names(rauha)
    finally:
        rauha.run("zone", "delete", "--json", "--name", "by-hand", "--force").exited(0)
    assert "by-hand" not in names(rauha)


def test_two_tasks_with_one_name(rauha):
    first = rauha.start_sandbox("sh", "-c", "echo up; sleep 60", options=["--name", "twin", "--timeout", "60s"])
    try:
        eventually(lambda: "twin" in names(rauha), 15, "the first task's zone")
        second = rauha.sandbox("true", options=["--name", "twin"])
        second.task("runtime_error")
        second.refused(125, error_code=("exists", "busy", "conflict"), mentions="twin")
        assert first.process.poll() is None and "twin" in names(rauha), "the first one suffered"
    finally:
        first.process.send_signal(signal.SIGTERM)
        first.wait(20)
    rauha.sandbox("true", options=["--name", "twin"]).task("succeeded", 0)


def test_race_for_one_name(rauha):
    running = [rauha.start_sandbox("sleep", "1", options=["--name", "race"]) for _ in range(5)]
    results = [task.wait(60) for task in running]
    codes = sorted(result.returncode for result in results)
    assert codes == [0, 125, 125, 125, 125], [result.json.get("error") for result in results]


def test_name_is_the_hostname(rauha):
    document = rauha.sandbox("hostname", options=["--name", "my-zone"]).task("succeeded", 0)
    assert document["stdout"] == "my-zone\n" and document["zone_name"] == "my-zone"


# --- policies as files

@pytest.mark.parametrize("policy", ["task", "standard", "strict", "privileged", "odd"])
def test_what_policy_show_prints_is_a_policy(rauha, tmp_path, policy):
    if policy == "odd":
        path = tmp_path / "odd.toml"
        path.write_text('name = "odd"\ntype = "standard"\nrequire = []\n[filesystem]\nscratch = "disk"\nscratch_size = "1234567B"\nmasked = ["/a \\"b\\" \\\\c"]\n'
                        '[network]\nmode = "bridged"\negress = [{cidr = "10.0.0.0/8", ports = [1, 65535]}, {cidr = "2001:db8::/32", protocol = "udp"}]\n'
                        'ingress = [{port = 80}]\nzones = ["other"]\n[resources]\ncpu = 0.25\nmemory = "0"\npids = 0\nio_write = "5MiB/s"\ntimeout = "90s"\n'
                        'stop_grace = "1500ms"\n[syscalls]\ndeny = ["keyctl"]\nallow = ["ptrace"]\n[[devices]]\npath = "/dev/fuse"\naccess = "rw"\n')
        policy = str(path)
    shown = rauha.run("policy", "show", policy).exited(0)
    again = tmp_path / "again.toml"
    again.write_bytes(shown.stdout)
    rauha.run("policy", "validate", str(again)).exited(0)
    values = [rauha.run("policy", "show", which, "--json").exited(0).json for which in (policy, str(again))]
    for value in values:
        del value["digest"]
        value.pop("source", None)
        value["syscalls"] = {key: value.get("syscalls", {}).get(key) or [] for key in ("deny", "allow")}
    assert values[0] == values[1]


def test_wrong_policy_is_an_answer(rauha, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('name = "x"\ntype = "task"\nwrong = 1\n')
    document = rauha.run("policy", "validate", str(path), "--json").exited(1).json
    assert document["valid"] is False and document["error"]["object"] == "wrong"


# --- the other commands, one document each

@pytest.mark.parametrize("arguments", [["doctor"], ["plugin", "list"], ["zone", "list"], ["image", "list"], ["policy", "show", "task"], ["policy", "show"]],
                         ids=" ".join)
def test_commands_print_one_document(rauha, arguments):
    result = rauha.run(*arguments, "--json")
    assert isinstance(result.json, (dict, list)), result.explain()
    # doctor ends with 1 when something is missing
    result.check(result.returncode in ((0, 1) if arguments == ["doctor"] else (0,)), "failed")
    human = rauha.run(*arguments)
    assert human.returncode == result.returncode, human.explain("another exit code without --json")


def test_doctor_tells_what_is_missing_and_why(rauha):
    result = rauha.run("doctor", "--json")
    document = result.json
    checks = {check["name"]: check for check in document["checks"]}
    assert document["schema_version"] == 1 and document["cgroup_layout"] in ("v2", "hybrid") and checks
    assert checks["enforcer"]["status"] != "ok", "no enforcer plugin has landed"
    for check in checks.values():
        assert check["status"] in ("ok", "weaker", "missing") and check.get("detail"), check
        if check["status"] != "ok":
            assert check.get("reason") and check.get("remedy"), f"neither why nor what to do: {check}"
    assert document["server"]["pid"] == rauha.daemon_pid() and document["server"]["instance"] == rauha.name


def test_plugins_are_listed(rauha):
    document = rauha.run("plugin", "list", "--json").exited(0).json
    plugins = {plugin["name"]: plugin for plugin in (document["plugins"] if isinstance(document, dict) else document)}
    for name in ("backend-linux", "image-oci"):
        assert plugins[name]["loaded"] is True and plugins[name]["build_id"] and plugins[name]["interfaces"], plugins[name]


def test_zone_list_is_stable_under_creation(rauha):
    running = [rauha.start_sandbox("true") for _ in range(4)]
    for _ in range(5):
        zones_of(rauha.run("zone", "list", "--json"))
    for task in running:
        task.wait(60).task("succeeded", 0)
