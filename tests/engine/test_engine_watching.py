"""What machines are told of a build: events of `--log json`, and metrics for Prometheus."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from support.engine_build import run_in_process
from support.engine_stages import Judge, make_test_plan, write_recipe
from support.ports import free_port

import imig.engine.build as engine
from imig.cli import main, run_command
from imig.commands.common import host_and_port
from imig.console.json_log import JsonLog
from imig.console.live_line import LINE_SECONDS
from imig.engine.groups import Group
from imig.engine.json_events import JsonEvents
from imig.engine.metrics import metrics_server
from imig.engine.plan import Plan
from imig.engine.progress import BuildProgress
from imig.engine.status import BuildObserver
from imig.engine.tally import Snapshot
from imig.errors import DataError, UsageError
from imig.output.tally import StageTally

GROUPS = [
    Group(("source",), workers=1, cpus=1, gpus=0, weights=0),
    Group(("filter",), workers=4, cpus=1, gpus=0.5, weights=0, custom={"big": 1}),
]


class Clock:
    """Stands in for `time.monotonic`."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    recipe = write_recipe(tmp_path)
    return make_test_plan(tmp_path / "d", recipe=recipe, scenes=40, judge=Judge(raise_on=[5]))


def snapshot_of(seen: int) -> Snapshot:
    judged = StageTally(seen=seen, rejected=seen // 4, quarantined=1, seconds=6.0)
    return Snapshot(
        tallies={"source": StageTally(seen=seen + 8, seconds=0.5), "filter": judged},
        rejects=Counter({("filter", 'un"lucky\n'): seen // 4}),
        errors=Counter({("filter", "ValueError"): 1}),
        ready={"source", "filter"},
    )


def run_half(plan: Plan, *observers: BuildObserver, clock: Clock) -> None:
    """A build as far as its 16th scene, two blocks of 8 in 20 seconds."""
    progress = BuildProgress(
        plan, Console(quiet=True), finished_scenes=0, observers=observers, clock=clock
    )
    for one in observers:
        one.started(plan, finished_scenes=0)
    progress.show_workers(GROUPS, finished_scenes=0)
    progress.warn("lost node-3: its workers start anew on other nodes")
    for seen in (8, 16):
        clock.seconds += LINE_SECONDS
        progress.advance(8)
        progress.show(snapshot_of(seen))
        progress.show(snapshot_of(seen))


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_one_object_a_line_and_progress_comes_now_and_then(plan: Plan) -> None:
    stream, clock = io.StringIO(), Clock()
    run_half(plan, JsonEvents(JsonLog(stream), clock=clock), clock=clock)
    events = lines_of(stream)
    assert [one["event"] for one in events] == [
        "started", "workers", "warning", "progress", "progress",
    ]  # fmt: skip
    assert all(one["time"].endswith("Z") for one in events)
    started, workers, warning, _, last = events
    assert (started["scenes"], started["stages"]) == (40, ["source", "filter"])
    assert workers["groups"][1] == {
        "stages": ["filter"], "workers": 4, "cpus": 1, "gpus": 0.5, "custom": {"big": 1},
    }  # fmt: skip
    assert warning["message"].startswith("lost node-3")
    assert (last["done"], last["scenes_per_second"], last["seconds_left"]) == (16, 0.8, 30.0)
    assert last["rejects"] == {"filter": {'un"lucky\n': 4}}
    assert last["errors"] == {"filter": {"ValueError": 1}}
    judged = last["stages"][1]
    assert (judged["seen"], judged["waiting"], judged["quarantined"]) == (16, 8, 1)


def test_prometheus_reads_every_figure_of_a_build(plan: Plan) -> None:
    port = free_port()
    with metrics_server(("127.0.0.1", port)) as metrics:
        run_half(plan, metrics, clock=Clock())
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    expected = {
        ("imig_scenes",): 40,
        ("imig_scenes_done",): 16,
        ("imig_scenes_per_second",): 0.8,
        ("imig_seconds_left",): 30,
        ("imig_warnings_total",): 1,
        ("imig_workers", "filter"): 4,
        ("imig_worker_gpus", "filter"): 2,
        ("imig_stage_scenes_total", "source"): 24,
        ("imig_stage_waiting", "filter"): 8,
        ("imig_stage_busy_seconds_total", "filter"): 6,
        ("imig_stage_gpu_seconds_total", "filter"): 3,
        ("imig_stage_ready", "source"): 1,
        ("imig_stage_rejected_total", "filter", 'un"lucky\n'): 4,
        ("imig_stage_quarantined_total", "ValueError", "filter"): 1,
    }
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)
    (info,) = (name for name in found if name[0] == "imig_build_info")
    assert {plan.loaded.recipe.name, str(plan.output)} < set(info)
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/metrics")


def test_a_port_that_is_taken_is_an_error_for_people() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listening = metrics_server(("127.0.0.1", port))
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1:{port}"), listening:
            pass


def test_the_end_is_told_once_and_the_next_run_says_that_all_is_done(plan: Plan) -> None:
    stream = io.StringIO()
    events = JsonEvents(JsonLog(stream))
    with patch.object(engine, "run_blocks", run_in_process):
        for _ in range(2):
            engine.build(plan, Console(quiet=True), observers=[events])
    first, second = lines_of(stream)
    assert (first["event"], first["finished_already"]) == ("finished", False)
    assert first["counts"] == second["counts"]
    assert first["counts"] == {"input": 40, "written": 33, "rejected": 6, "quarantined": 1}
    assert first["funnel"][1]["reasons"] == {"unlucky": 6, "ValueError": 1}
    assert (second["event"], second["finished_already"]) == ("finished", True)


def test_what_is_wrong_with_a_call_is_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "no-such-recipe", "--log", "json"]) == 2
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["exit_code"]) == ("error", 2)
    assert "no-such-recipe" in event["message"]


@pytest.mark.parametrize(
    ("raised", "event", "code", "message"),
    [
        pytest.param(DataError("bad\nline", cure="mend"), "error", 1, "bad\nline", id="data"),
        pytest.param(KeyboardInterrupt(), "stopped", 130, "the same command", id="ctrl-c"),
        pytest.param(OSError(28, "No space", "/x"), "error", 1, "/x: No space", id="full-disk"),
        pytest.param(KeyError("fault"), "error", 1, "KeyError: 'fault'", id="fault-of-imig"),
    ],
)
def test_whatever_ends_a_build_is_one_line_for_machines(
    raised: BaseException, event: str, code: int, message: str
) -> None:
    def command() -> int:
        raise raised

    stream = io.StringIO()
    with patch("signal.signal"):  # Ctrl-C stays what it is for the tests
        assert run_command("build", command, log=JsonLog(stream)) == code
    (line,) = lines_of(stream)
    assert (line["event"], line["exit_code"]) == (event, code)
    assert message in line["message"]
    assert ("traceback" in line) == isinstance(raised, KeyError)


def test_what_modules_log_is_a_warning_event_and_on_a_screen_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> int:
        logging.getLogger("imig.stores.patience").warning("%s does not answer", "s3://b\n")
        return 0

    stream = io.StringIO()
    assert run_command("build", command, log=JsonLog(stream)) == 0
    (line,) = lines_of(stream)
    assert (line["event"], line["message"]) == ("warning", "s3://b\n does not answer")
    assert capsys.readouterr().err == ""
    run_command("build", command)
    assert capsys.readouterr().err == "s3://b\n does not answer\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9400", ("127.0.0.1", 9400)),
        ("0.0.0.0:9400", ("0.0.0.0", 9400)),
        ("[::1]:9400", ("::1", 9400)),
        ("gpu-1:80", ("gpu-1", 80)),
    ],
)
def test_an_address_is_a_port_or_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize("text", ["", "host", "0", "65536", ":80", "a:b", "-1", "٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is not a port"):
        host_and_port(text)
