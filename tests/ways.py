"""Every way that a check can end, as docs/outcomes.md says it."""

from __future__ import annotations

from endings import OBJECTS, RED, WHITE, Way

OUTSIDE = (
    "edited: subject.png, metrics: {closeness: {threshold: 0.5, scope: edit_area, coords: [[900, 900, 950, 950]]}}"
)
EARLY = "not run: ? of 4 checks: *"
SOFT = "soft failures: 1 × box-outside-image*"
NOT_FINITE = "*the features that it is given are not finite numbers"
NONE, STOPPED = "none", "not judged"


def before(what: str, check: str = "subject") -> str:
    """A `conftest.py` that does something when the check is about to be set up."""
    return f"""
        def pytest_runtest_setup(item):
            if "::{check}" in item.nodeid:
                {what}
    """


def marked(mark: str) -> str:
    return f"""
        def pytest_collection_modifyitems(items):
            for item in items:
                if "::subject" in item.nodeid:
                    item.add_marker(pytest.mark.{mark})
    """


def fixture(body: str) -> str:
    return f"""
        @pytest.fixture(autouse=True)
        def _around(request):
            mine = "::subject" in request.node.nodeid
            {body}
    """


def attempts(outcome: str) -> str:
    """As plugins do that run a failing test again: two attempts, of which the first has this outcome."""
    return f"""
        from _pytest.runner import runtestprotocol

        attempt = 0

        def pytest_runtest_protocol(item, nextitem):
            global attempt
            if "::subject" not in item.nodeid:
                return None
            for attempt in (1, 2):
                item._initrequest()
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    if attempt == 1 and report.failed:
                        report.outcome = "{outcome}"
                    item.ihook.pytest_runtest_logreport(report=report)
            return True

        @pytest.fixture(autouse=True)
        def _fails_once(request):
            if "::subject" in request.node.nodeid and attempt == 1:
                pytest.fail("a bad moment")
    """


def reported(change: str) -> str:
    return f"""
        class Meddler:
            @pytest.hookimpl(tryfirst=True)
            def pytest_runtest_logreport(self, report):
                if not WORKER and "::subject" in report.nodeid and report.when == "call":
                    {change}

        def pytest_sessionstart(session):
            session.config.pluginmanager.register(Meddler())  # after all others, and so before them
    """


def raised(what: str) -> str:
    return f"def fault(): raise {what}"


def metric_raises(what: str) -> str:
    return f"""
        def broken():
            raise {what}

        paint.fault = broken
    """


TAKEN_OUT = """
    def pytest_collection_modifyitems(items):
        items[:] = [item for item in items if "::subject" not in item.nodeid]
"""


def missing(name: str, status: int | tuple[int | None, int | None], conftest: str = "", **more: object) -> Way:
    """A run that ends before the check does."""
    return Way(name, status, NONE, NONE, NONE, conftest=conftest, **{"gate": STOPPED, "line": EARLY, **more})  # type: ignore[arg-type]


WAYS = [
    Way("passed", 0, "passed", "passed", "passed", line="checks: 4 = 4 passed"),
    Way("below its threshold", 1, "failed", "failure", "failed", color=WHITE, line="checks: 4 = 3 passed + 1 failed"),
    Way("soft failure", 0, "xfailed", "skipped", "soft failure", subject=OUTSIDE, line=SOFT),
    Way(
        *("soft failure, `--editeval-soft-failures fail`", 1, "failed", "failure", "soft failure"),
        subject=OUTSIDE,
        line=SOFT,
        options=("--editeval-soft-failures=fail",),
    ),
    Way("soft failure, `--runxfail`", 1, "failed", "failure", "soft failure", subject=OUTSIDE, options=("--runxfail",)),
    Way(
        *("soft failure, and no other check", 11, "xfailed", "skipped", "soft failure", "fails"),
        subject=f"tags: [mine], {OUTSIDE}",
        options=("-m", "mine"),
        line="nothing was scored: *",
    ),
    Way(
        *("the segmenter raises", 0, "xfailed", "skipped", "soft failure"),
        subject=OBJECTS,
        conftest="def segment(): raise RuntimeError('CUDA error')",
        detail="CUDA error",
        line="soft failures: 1 × segmenter-failed*",
    ),
    Way(
        "no edited image",
        1,
        "failed",
        "failure",
        "error",
        subject="edited: gone.png, metrics: {closeness: 0.5}",
        detail="not found: gone.png",
    ),
    Way("broken image", 1, "failed", "failure", "error", color=None, detail="not an image file: subject.png"),
    Way(
        *("image deleted before it is opened", 1, "failed", "failure", "error"),
        conftest=before("pathlib.Path('subject.png').unlink()", "before"),
        detail="not found: subject.png",
    ),
    Way(
        *("image deleted after it is opened", 0, "passed", "passed", "passed"),
        conftest=before("pathlib.Path('subject.png').unlink()"),
    ),
    Way(
        *("the model cannot be loaded", 1, "failed", "failure", "error"),
        conftest="""
        from pytest_editeval.errors import CheckpointError

        def load(): raise CheckpointError("model.safetensors: damaged")
        """,
        detail="model.safetensors: damaged",
        line="checks: 4 = 4 errors",
    ),
    Way(
        *("the model raises", 1, "failed", "failure", "error"),
        color=RED,
        conftest=raised("RuntimeError('CUDA error: an assert')"),
        detail="CUDA error: an assert",
        line="checks: 4 = 3 passed + 1 error",
    ),
    Way(
        *("the model ends the process (`sys.exit`)", 1, "failed", "failure", "error"),
        color=RED,
        conftest=raised("SystemExit(0)"),
    ),
    Way(
        *("out of memory on a device, with one image", 1, "failed", "failure", "error"),
        color=RED,
        conftest="""
        class OutOfMemoryError(RuntimeError): pass

        def fault(): raise OutOfMemoryError("CUDA out of memory")
        """,
        detail="CUDA out of memory",
    ),
    Way("out of memory (`MemoryError`)", 1, "failed", "failure", "error", color=RED, conftest=raised("MemoryError()")),
    Way(
        *("NaN in a model's patches", 1, "failed", "failure", "error"),
        color=RED,
        conftest="def fault(): return float('nan')",
        detail="closeness: the features",
        line=NOT_FINITE,
    ),
    Way(
        *("infinity in a model's patches", 1, "failed", "failure", "error"),
        color=RED,
        conftest="def fault(): return -float('inf')",
        line=NOT_FINITE,
    ),
    Way(
        *("NaN in a model's CLS", 1, "failed", "failure", "error"),
        color=RED,
        subject=OBJECTS.replace("[0, 0, 9, 9], [0, 0, 9, 9]", "[0, 0, 48, 48], [0, 0, 48, 48]"),
        conftest="""
        def features(self, pixel):
            return Features(np.ones((self.geometry.grid ** 2, 2), np.float32), np.full(2, np.nan, np.float32))

        Painted.features = features
        """,
        detail="likeness: the features",
        line="checks: 4 = 3 passed + 1 error",
    ),
    Way(
        *("NaN from a metric", 1, "failed", "failure", "error"),
        color=RED,
        conftest="paint.fault = lambda: float('nan')",
        detail="is nan: the features or the metric are broken",
    ),
    Way(
        *("infinity from a metric", 1, "failed", "failure", "error"),
        color=RED,
        conftest="paint.fault = lambda: float('inf')",
        detail="is inf: the features or the metric are broken",
    ),
    Way(
        *("a worker is killed in the check", (None, 1), "failed", "error", "error"),
        conftest=before("os.kill(os.getpid(), signal.SIGKILL)"),
        detail="crashed while running",
        line="workers that crashed: gw?",
    ),
    Way(
        *("a worker is killed, and may not be replaced", (None, 1), "failed", "error", "error", "fails"),
        conftest=before("os._exit(0)"),
        detail="crashed while running",
        line=EARLY,
        options=("--max-worker-restart=0",),
    ),
    Way(
        *("a worker is lost after its checks", (None, 12), "passed", "passed", "passed"),
        conftest="""
        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish():
            if WORKER == "gw0":
                os._exit(0)
        """,
        line="workers that crashed: gw0",
    ),
    missing(
        "the process is killed (SIGKILL, out of memory)",
        (-9, None),
        before("os.kill(os.getpid(), signal.SIGKILL)"),
        line="",
        apart=True,
    ),
    missing(
        "the process is terminated (SIGTERM)",
        -15,
        "def pytest_runtest_logreport(): WORKER or os.kill(os.getpid(), signal.SIGTERM)",
        line="",
        apart=True,
    ),
    missing("interrupted (Ctrl-C)", (2, None), before("raise KeyboardInterrupt")),
    missing("`pytest.exit()`", (2, None), before("pytest.exit('enough')")),
    Way(
        *("a worker is interrupted, or calls `pytest.exit()`", (None, 2), "failed", "error", "error", STOPPED),
        conftest=before("pytest.exit('enough')"),
        detail="crashed while running",
        line=EARLY,
    ),
    missing("`pytest.exit(returncode=0)`", (12, 3), before("pytest.exit('enough', returncode=0)"), line=""),
    missing("a fixture calls `pytest.exit()`", (2, None), fixture("mine and pytest.exit('enough')")),
    Way(
        *("a metric calls `pytest.exit()`", 1, "failed", "failure", "error"),
        color=RED,
        conftest=metric_raises("pytest.exit.Exception('enough')"),
        detail="raised Exit: enough",
    ),
    Way(
        *("a metric raises `KeyboardInterrupt`", 1, "failed", "failure", "error"),
        color=RED,
        conftest=metric_raises("KeyboardInterrupt"),
        detail="raised KeyboardInterrupt",
        line="checks: 4 = 3 passed + 1 error",
    ),
    missing(
        "a metric ends the process with 0 (`os._exit(0)`)",
        (12, None),
        "paint.fault = lambda: os._exit(0)",
        line="ERROR: editeval: os._exit(0) has ended the process; checks: 4 = *4 not run",
        color=RED,
        apart=True,
    ),
    Way(
        *("a metric ends its worker with 0 (`os._exit(0)`)", (None, 1), "failed", "error", "error"),
        color=RED,
        conftest="paint.fault = lambda: os._exit(0)",
        detail="crashed while running",
        line="workers that crashed: gw?*",
    ),
    missing("a hook stops the session", 2, before("item.session.shouldstop = 'enough'", "before")),
    missing("a hook runs no tests", (11, None), "def pytest_runtestloop(): return True", gate="fails"),
    missing(
        "a hook takes it out of the run, and deselects nothing",
        10,
        TAKEN_OUT,
        gate="fails",
        line="taken out of the run by a hook that deselected nothing: 1 check",
    ),
    missing(
        "a hook takes it out, and no gate about it",
        12,
        TAKEN_OUT,
        gates="",
        line="checks: 4 = 3 passed + 1 not run",
    ),
    Way("`--stepwise`", 2, "failed", "failure", "failed", STOPPED, color=WHITE, options=("--sw",), line=EARLY),
    Way("`-x`", (1, 2), "failed", "failure", "failed", STOPPED, color=WHITE, options=("-x",)),
    Way("`--maxfail`", (1, 2), "failed", "failure", "failed", STOPPED, color=WHITE, options=("--maxfail=1",)),
    Way(
        *("a mistake in its case", 1, "error", "error", NONE),
        subject="edited: subject.png, metrics: {closenes: 1}",
        line="not collected: 1 × a mistake in a case file*",
    ),
    missing("nothing is selected (`-k`)", 5, options=("-k", "nothing"), line=""),
    missing(
        "nothing is left (`--deselect`)", 5, options=("--deselect=one.edit.yaml", "--deselect=two.edit.yaml"), line=""
    ),
    missing("an empty folder", 5, options=("empty",), line="*no tests ran*"),
    missing("nothing to run again (`--lf --lfnf none`)", 5, options=("--lf", "--lfnf=none"), line=""),
    Way("skipped by a mark", 10, "skipped", "skipped", NONE, "fails", conftest=marked("skip"), line="skipped: 1 of 4*"),
    Way(
        *("skipped by a mark, and no gate about it", 12, "skipped", "skipped", NONE, STOPPED),
        conftest=marked("skip"),
        gates="",
        line="checks: 4 = 3 passed + 1 skipped",
    ),
    Way(
        *("skipped by a fixture, and no gate about it", 12, "skipped", "skipped", NONE, STOPPED),
        conftest=fixture("mine and pytest.skip('no GPU')"),
        gates="",
        line="skipped: 1 of 4 checks: one.edit.yaml::subject::closeness",
    ),
    Way(
        *("the model skips (`pytest.skip`)", 1, "failed", "failure", "error"),
        color=RED,
        conftest=raised("pytest.skip.Exception('no GPU')"),
        detail="Skipped: no GPU",
    ),
    Way(
        *("expected to fail (`xfail`)", 0, "xfailed", "skipped", "failed"),
        color=WHITE,
        conftest=marked("xfail"),
        line="checks: 4 = 3 passed + 1 expected failure",
    ),
    Way(
        *("passes a strict `xfail`", 1, "failed", "failure", "error"),
        conftest=marked("xfail(strict=True)"),
        detail="[XPASS(strict)]",
    ),
    Way(
        *("a fixture raises in setup", 1, "error", "error", "error"),
        conftest=fixture("assert not mine, 'no model here'"),
        detail="no model here",
        line="checks: 4 = 3 passed + 1 error",
    ),
    Way(
        *("a fixture raises in teardown", 1, "passed, error", "error", "error"),
        conftest=fixture("yield; assert not mine, 'left behind'"),
        detail="left behind",
        line="checks: 4 = 3 passed + 1 error",
    ),
    Way("a plugin runs it again, and it passes", 0, "passed", "passed", "passed", conftest=attempts("rerun")),
    Way(
        *("reported twice, first as an error", 1, "error, passed", "error", "passed"),
        conftest=attempts("failed"),
        line="reported more than once, and counted by the last report: 1 of 4*",
    ),
    Way(
        *("reported as passed, against its score", 12, "passed", "passed", "failed"),
        color=WHITE,
        conftest=reported("report.outcome, report.longrepr = 'passed', None"),
        line="checks: 4 = 3 passed + 1 failed",
    ),
    Way(
        *("reported without its row", 10, "passed", "passed", NONE, "fails"),
        conftest=reported("del report.editeval_result"),
        line="without a row in the results: 1 of 4*",
    ),
    Way(
        *("a check is reported that was never selected", 12, "passed", "passed", "passed"),
        conftest="""
        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop(session):
            result = yield
            if not WORKER:
                report = pytest.TestReport("two.edit.yaml::x::emd", ("", 0, ""), {}, "passed", None, "call")
                session.config.hook.pytest_runtest_logreport(report=report)
            return result
        """,
        line="reported, but never selected: 1 of 4*",
    ),
    missing("a hook raises at collection", (3, 3), "def pytest_collection_finish(): raise ValueError('hook')", line=""),
    Way(
        *("a hook raises where results are gathered", 10, "any", "any", NONE, "fails"),
        conftest=reported("raise ValueError('hook')"),
        line="ERROR: editeval: one.edit.yaml::subject::closeness (call): the hook pytest_runtest_logreport raised *",
    ),
    Way(
        *("a hook raises in a worker", (None, 4), "any", "any", "any", "any"),
        conftest="""
        def pytest_runtest_logreport(report):
            if WORKER and "::after" in report.nodeid and report.when == "call":
                raise ValueError("hook")
        """,
    ),
    Way(
        *("the results file cannot be written", 4, "passed", "passed", NONE),
        options=("--editeval-results=occupied/rows.jsonl",),
        line="ERROR: editeval: --editeval-results occupied/rows.jsonl: *",
    ),
    Way(
        *("the page cannot be written", 4, "passed", "passed", "passed"),
        options=("--editeval-report=occupied/page.html",),
        line="ERROR: editeval: --editeval-report occupied/page.html: *",
    ),
    Way(
        *("JUnit's file cannot be written", 1, "passed", NONE, "passed", "any"),
        options=("--junitxml=occupied/junit.xml",),
        apart=True,
    ),
]
