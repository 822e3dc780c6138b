"""Which devices a step gets, and how its container changes."""

import re
from typing import Any

import pytest

from services.executor.core.cdi import HostDevices, NodeInfo, inject, parse_spec
from shared.errors import BuildFailed
from shared.llb import Device

CLASS = "org.mobyproject.buildkit.device.class"
FREE = "org.mobyproject.buildkit.device.autoallow"


def spec(*names: str, kind: str = "v.org/gpu", **more: Any) -> dict[str, Any]:
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": [{"name": name} for name in names], **more}


def machine(*auto: str) -> HostDevices:
    free = spec("free", kind="v.org/free", annotations={FREE: True})
    classed = spec("one", "two", kind="w.org/x")
    classed["devices"][1]["annotations"] = {CLASS: "fast", "n": 3}
    return HostDevices([*parse_spec(spec("b", "a"), "f"), *parse_spec(free, "g"), *parse_spec(classed, "h")], auto)


def wanted(*names: str, optional: bool = False) -> list[Device]:
    return [Device(name=name, optional=optional) for name in names]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v.org/gpu=b", ["v.org/gpu=b"]),
        ("v.org/gpu", ["v.org/gpu=a"]),
        ("v.org/gpu=*", ["v.org/gpu=a", "v.org/gpu=b"]),
        ("fast", ["w.org/x=two"]),
    ],
)
def test_ways_to_name_devices(name: str, found: list[str]) -> None:
    assert [device.name for device in machine().find(wanted(name, name))] == found


@pytest.mark.parametrize("name", ["v.org/gpu=c", "v.org/other", "v.org/other=*", "slow", ""])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(BuildFailed, match=re.escape(f'required device "{name}" is not registered')):
        machine().find(wanted(name))
    assert machine().find(wanted(name, optional=True)) == []


@pytest.mark.parametrize(
    ("names", "entitlements", "outcome"),
    [
        (("v.org/free",), (), ["v.org/free=free"]),
        (("v.org/gpu=a",), ("device",), ["v.org/gpu=a"]),
        (("v.org/gpu=a",), ("device=v.org/gpu=a",), ["v.org/gpu=a"]),
        (("v.org/gpu=b",), ("device=v.org/gpu=*", "network.host"), ["v.org/gpu=b"]),
        (("mine",), ("device=v.org/gpu=b,alias=mine",), ["v.org/gpu=b"]),
        (("v.org/gpu=b",), ("device=v.org/gpu=a",), "device v.org/gpu=b is requested by the build but not allowed"),
        (("v.org/gpu=*",), ("device=gone",), "devices v.org/gpu=a, v.org/gpu=b are requested by the build but not allowed"),
        (("mine",), (), 'required device "mine" is not registered'),
    ],
)
def test_what_a_build_may_use(names: tuple[str, ...], entitlements: tuple[str, ...], outcome: object) -> None:
    if isinstance(outcome, list):
        assert [device.name for device in machine().allowed(wanted(*names), entitlements)] == outcome
    else:
        with pytest.raises(BuildFailed) as caught:
            machine().allowed(wanted(*names), entitlements)
        assert caught.value.message == outcome


def test_the_configuration_may_free_devices_and_kinds() -> None:
    for auto in ("v.org/gpu", "v.org/gpu=a"):
        assert [d.name for d in machine(auto).allowed(wanted("v.org/gpu=a"), ())] == ["v.org/gpu=a"]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        spec(kind="gpu"),
        spec("a b"),
        spec("a", devices="x"),
        spec("a", containerEdits=["x"]),
        spec("a", containerEdits={"env": ["X"]}),
        spec("a", containerEdits={"env": ["=X"]}),
        spec("a", containerEdits={"deviceNodes": [{}]}),
        spec("a", containerEdits={"mounts": [{"hostPath": "/x"}]}),
        spec("a", containerEdits={"hooks": [{"hookName": "later", "path": "/x"}]}),
        spec("a", devices=[None]),
    ],
)
def test_documents_that_are_no_specs(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"f: |is no list"):
        parse_spec(bad, "f")


def container() -> dict[str, Any]:
    return {
        "process": {"env": ["A=1", "B=2"], "user": {"uid": 7, "gid": 8, "additionalGids": [8]}},
        "mounts": [{"destination": "/a/b", "source": "x"}, {"destination": "/proc", "source": "p"}],
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }


def look(path: str) -> NodeInfo:
    return NodeInfo(kind="c", major=1, minor=3)


def injected(**edits: Any) -> dict[str, Any]:
    found = container()
    inject(found, parse_spec(spec("a", containerEdits=edits), "f"), look)
    return found


def test_variables_groups_and_hooks() -> None:
    hook = {"hookName": "createContainer", "path": "/bin/x", "args": ["x"], "timeout": 1}
    found = injected(
        env=["A=3", "C="], additionalGids=[0, 8, 9], hooks=[hook], intelRdt={"closID": "c"}, netDevices=[{"hostInterfaceName": "e"}]
    )

    assert found["process"]["env"] == ["B=2", "A=3", "C="]
    assert found["process"]["user"]["additionalGids"] == [8, 9]
    assert found["hooks"] == {"createContainer": [{"path": "/bin/x", "args": ["x"], "timeout": 1}]}
    assert (found["linux"]["intelRdt"], found["linux"]["netDevices"]) == ({"closID": "c"}, {"e": {"name": "e"}})


def test_mounts_take_the_place_of_others_and_stay_in_order() -> None:
    found = injected(mounts=[{"hostPath": "/h", "containerPath": "/a/b", "options": ["bind"]}, {"hostPath": "/p", "containerPath": "/a"}])

    assert [mount["destination"] for mount in found["mounts"]] == ["/proc", "/a", "/a/b"]
    assert found["mounts"][2] == {"destination": "/a/b", "source": "/h", "options": ["bind"]}


def test_nodes_are_looked_up_and_allowed() -> None:
    nodes = [{"path": "/dev/x"}, {"path": "/dev/y", "type": "b", "major": 8, "minor": 1, "permissions": "r", "uid": 0, "fileMode": 384}]
    found = injected(deviceNodes=[*nodes, {"path": "/dev/x", "type": "c"}])["linux"]

    assert found["devices"] == [
        {"path": "/dev/y", "type": "b", "major": 8, "minor": 1, "fileMode": 384, "uid": 0, "gid": 8},
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 8},
    ]
    assert found["resources"]["devices"][1:] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "r"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    ]
    with pytest.raises(BuildFailed, match="it is of type c, not b"):
        injected(deviceNodes=[{"path": "/dev/x", "type": "b"}])


def test_what_all_devices_of_a_spec_share_comes_once() -> None:
    found = container()

    inject(found, parse_spec(spec("a", "b", containerEdits={"mounts": [{"hostPath": "/h", "containerPath": "/x"}]}), "f"), look)

    assert len(found["mounts"]) == 3
