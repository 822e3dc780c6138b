"""Image configs, as Go reads and writes them."""

import json

import pytest

from services.frontend.core.dockerfile.commands import Healthcheck
from services.frontend.core.image import HistoryEntry, Image, ImageProcess, empty_image, image_json, parse_image
from shared.model import Platform

LINUX = Platform(os="linux", architecture="arm", variant="v7")


def test_an_empty_image_has_null_layers_and_a_path() -> None:
    assert image_json(empty_image(LINUX)) == (
        b'{"architecture":"arm","os":"linux","variant":"v7","rootfs":{"type":"layers","diff_ids":null},'
        b'"config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"WorkingDir":"/"}}'
    )
    assert empty_image(Platform(os="windows", architecture="amd64")).config.env == []


def test_all_fields_come_in_order() -> None:
    config = ImageProcess(
        user="u",
        exposed_ports={"80/tcp", "1/udp"},
        env=["A=<"],
        entrypoint=["e"],
        cmd=["c"],
        volumes={"/v"},
        working_dir="/w",
        labels={"b": "1", "a": "\udcff"},
        stop_signal="s",
        args_escaped=True,
        healthcheck=Healthcheck(test=("CMD",), interval=1, retries=2),
        onbuild=["RUN x"],
        shell=["sh"],
    )
    platform = Platform(os="windows", architecture="amd64", os_version="10", os_features=("f",))
    image = Image(created="t", author="a", platform=platform, rootfs_type="layers", diff_ids=["d"], config=config)
    image.history = [HistoryEntry(created="t", created_by="x", author="y", comment="z", empty_layer=True), HistoryEntry()]

    assert image_json(image).decode() == (
        '{"created":"t","author":"a","architecture":"amd64","os":"windows","os.version":"10","os.features":["f"],'
        '"rootfs":{"type":"layers","diff_ids":["d"]},'
        '"history":[{"created":"t","created_by":"x","author":"y","comment":"z","empty_layer":true},{}],'
        '"config":{"User":"u","ExposedPorts":{"1/udp":{},"80/tcp":{}},"Env":["A=\\u003c"],"Entrypoint":["e"],"Cmd":["c"],"Volumes":{"/v":{}},'
        '"WorkingDir":"/w","Labels":{"a":"\\ufffd","b":"1"},"StopSignal":"s","ArgsEscaped":true,'
        '"Healthcheck":{"Test":["CMD"],"Interval":1,"Retries":2},"OnBuild":["RUN x"],"Shell":["sh"]}}'
    )


def test_reading_keeps_what_the_structs_know() -> None:
    data = json.dumps(
        {
            "CREATED": "2024-01-01T00:00:00.5000+00:00",
            "os": "linux",
            "architecture": "arm",
            "variant": "v7",
            "container": "dropped",
            "config": {"Env": ["A=b"], "labels": {"x": "y"}, "Healthcheck": {"Test": ["NONE"]}, "OnBuild": None},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [{"created": "2024-01-01T00:00:00+01:00", "empty_layer": True}],
        }
    ).encode()

    image = parse_image(data)

    assert image.created == "2024-01-01T00:00:00.5Z"
    assert image.config.labels == {"x": "y"}
    assert image.history == [HistoryEntry(created="2024-01-01T00:00:00+01:00", empty_layer=True)]
    assert b"container" not in image_json(image)
    assert b'"diff_ids":[]' in image_json(image)


def test_a_copy_shares_nothing() -> None:
    image = empty_image(LINUX)
    other = image.copy()
    other.config.env.append("X=y")
    other.config.labels["a"] = "b"
    other.history.append(HistoryEntry())

    assert (len(image.config.env), image.config.labels, image.history) == (1, {}, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"config":[]}',
        '{"config":{"Env":"x"}}',
        '{"config":{"Env":[1]}}',
        '{"created":"yesterday"}',
        '{"os":1}',
        '{"history":[1]}',
    ],
)
def test_what_go_would_refuse_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid image config"):
        parse_image(text.encode())
