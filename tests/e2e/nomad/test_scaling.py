"""The executor's scaling policy: what Prometheus says of the fleet, found through Nomad, and what an autoscaler makes of it."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.nomad.fleet import JOBS, SERVICES, Fleet, by_hand, load
from tests.kit.autoscaler import Autoscaler, decide
from tests.kit.parts.process import child
from tests.kit.parts.prometheus import Prometheus, prometheus_server
from tests.kit.web import answering

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

SLOTS: Final = 2
STEPS: Final = 2 * SLOTS
"""Half of them wait for an executor."""


@pytest.fixture
def prometheus(mesh: Fleet, tmp_path: Path) -> Iterator[Prometheus]:
    """With deploy/nomad/prometheus.yml; only who asks Nomad for its services is another, as Debian's Prometheus is built without that."""
    configuration = (JOBS / "prometheus.yml").read_text()
    asks = "nomad_sd_configs:\n      - server: http://127.0.0.1:4646\n"
    assert asks in configuration
    with (
        answering(lambda: found_by_nomad(mesh)) as found,
        prometheus_server(tmp_path / "prometheus", configuration.replace(asks, f"http_sd_configs:\n      - url: {found}\n")) as server,
    ):
        found = "count by (service) (up == 1)"
        mesh.nomad.wait(lambda: {row["metric"]["service"] for row in server.ask(found)} == set(SERVICES), 30, lambda: str(server.ask("up")))
        yield server


def found_by_nomad(mesh: Fleet) -> list[dict[str, Any]]:
    """What Prometheus' own discovery makes of Nomad's services, with the labels that its documentation names."""
    names = [row["ServiceName"] for space in mesh.nomad.api("services") for row in space["Services"]]
    return [
        {
            "targets": [f"{one['Address']}:{one['Port']}"],
            "labels": {
                "__meta_nomad_address": one["Address"],
                "__meta_nomad_service": one["ServiceName"],
                "__meta_nomad_tags": f",{','.join(one['Tags'])},",
            },
        }
        for name in names
        for one in mesh.nomad.api(f"service/{name}")
    ]


def job_with_policy(folder: Path, cooldown: str) -> Path:
    """executor.nomad.hcl with the policy in its group, as README.md says; with a cooldown that a test can wait for."""
    policy = (JOBS / "autoscaler/scaling.hcl").read_text()
    assert 'cooldown            = "30s"' in policy
    job, place = (JOBS / "executor.nomad.hcl").read_text(), "    count = var.count\n"
    assert place in job
    copied = folder / "executor.nomad.hcl"
    copied.write_text(job.replace(place, place + policy.replace('"30s"\n\n    check', f'"{cooldown}"\n\n    check') + "\n", 1))
    return copied


@contextmanager
def large_build(mesh: Fleet, busybox: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Independent steps, twice as many as one executor has slots; each takes longer than new executors need to come."""
    stages = "".join(f"FROM {busybox} AS s{n}\nRUN sleep 14; echo {n} > /out{n}\n" for n in range(STEPS))
    copies = "".join(f"COPY --from=s{n} /out{n} /\n" for n in range(STEPS))
    (folder / "Dockerfile").write_text(f"{stages}FROM scratch\n{copies}")
    argv = [*mesh.client.build_argv(folder), "--output", f"type=local,dest={folder}/out"]
    with (folder / "client.log").open("wb") as sink, child(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as started:
        yield started


@by_hand
def test_executors_come_under_load_and_go_after_it(
    mesh: Fleet, prometheus: Prometheus, build: Callable[[str], None], busybox: str, tmp_path: Path
) -> None:
    """1 → as many as the steps that run and wait ask for → 1, in the midst of builds. KEDA's queries tell of the load as well."""
    nomad, job = mesh.nomad, "buildmesh-executor"
    nomad.submit(job_with_policy(tmp_path, "15s"), {**mesh.settings["executor"], "slots": SLOTS})
    nomad.wait_deployed(job)
    scaler = Autoscaler(nomad=nomad, ask=prometheus.values, job=job, group="executor")
    with load(build, clients=1) as builds, large_build(mesh, busybox, tmp_path) as large:
        nomad.wait(lambda: looked(scaler) and len(nomad.running(job)) > 1, 60, lambda: f"{scaler.scaled}\n{nomad.said(job)}")
        loads = [prometheus.ask(query) for query in keda()]
        assert large.wait(60) == 0, (tmp_path / "client.log").read_text()[-4000:]
        builds.stopping.set()
        nomad.wait(lambda: looked(scaler) and len(nomad.alive(job)) == 1, 90, lambda: f"{scaler.scaled}\n{nomad.said(job)}")
    mesh.start("executor")  # without the policy

    print(f"asked for: {scaler.scaled}")
    assert builds.failures == []
    assert (tmp_path / "out/out0").read_text() == "0\n"
    assert 1 < scaler.scaled[0] <= 2 * STEPS
    assert scaler.scaled[-1] == 1
    assert [len(found) for found in loads] == [1, 1]
    assert float(loads[0][0]["value"][1]) > SLOTS


def looked(scaler: Autoscaler) -> bool:
    scaler.look()
    return True


def keda() -> list[str]:
    """The queries of both triggers."""
    return re.findall(r"query: (.+)", (JOBS / "autoscaler/keda.yaml").read_text())


WORK: Final[dict[str, Any]] = {
    "work": [{"query": "a", "query_window": "30s", "group": "g", "strategy": [{"target-value": [{"target": 0.8}]}]}],
    "patience": [
        {
            "query": "b",
            "query_window": "15s",
            "group": "g",
            "strategy": [{"threshold": [{"lower_bound": 15, "upper_bound": 1e9, "delta": 2, "within_bounds_trigger": 1}]}],
        }
    ],
}


@pytest.mark.parametrize(
    ("work", "oldest", "wish"), [(0.8, 0, None), (0.79, 20, 6), (0.2, 0, 1), (3.0, 0, 15), (3.0, 20, 15), (0.2, 15, 6), (0.0, 0, 0)]
)
def test_the_rules_decide_together(work: float, oldest: float, wish: int | None) -> None:
    """Four executors: `work` is the share of slots wanted, `oldest` the longest wait. Without a common group nothing would scale in."""
    answers = {"a": [9.0, work], "b": [oldest, 0.0]}

    assert decide([WORK], 4, lambda query, seconds: answers[query]) == wish


def test_without_a_group_they_would_never_scale_in() -> None:
    """As the policy once was: no wish for more, and so no wish for fewer."""
    apart = [{name: [{**rules[0], "group": ""}] for name, rules in WORK.items()}]

    assert decide(apart, 4, lambda query, seconds: [0.0]) is None
