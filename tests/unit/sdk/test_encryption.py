"""The store never holds plaintext, and a payload can only be read where it belongs."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor, EncryptedStore, Encryptor
from resonate.errors import DecryptionError
from resonate.retry_policies import Constant
from resonate.worker.resources import Resources
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate.workflow.registry import Registry
from resonate_store.interface import Store, StoreError, StoreWrapper
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import PromiseView, Record, Value
from resonate_store.model.requests import (
    FulfillAndTakeOver,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSearch,
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet, ScheduleSearch
from resonate_store.model.tags import TARGET
from tests.support.driver import Flow
from tests.support.open_memory import OpenMemory
from tests.support.present import present
from tests.support.steps import PATIENCE, caught
from tests.support.ways import three_ways
from tests.unit.sdk.conftest import Connect

if TYPE_CHECKING:
    from tests.support.offline_driver import OfflineDriver

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = "top secret"
LATER = 2_000_000_000_000


def sealed(text: str) -> Value:
    return Value(data=base64.b64encode(text.encode()).decode())


def read(store: Store, id: str) -> PromiseView:
    return present(store.apply(PromiseGet(id)).promise)


@pytest.fixture
def memory() -> OpenMemory:
    return OpenMemory(ManualClock())


@pytest.fixture
def store(memory: MemoryStore) -> EncryptedStore:
    return EncryptedStore(memory, AESGCMEncryptor({"old": OLD}))


def plaintext_in(records: list[Record], secret: str) -> list[str]:
    """Return the records that contain the secret, as it is or under base64."""
    found = []
    for record in records:
        data = [base64.b64decode(value.data or "") for value in (record.param, record.value)]
        if secret in repr(record) or any(secret.encode() in part for part in data):
            found.append(record.id)
    return found


# The encryptor


def test_encrypted_value_has_nonce_tag_and_headers() -> None:
    encryptor = AESGCMEncryptor({"old": OLD})
    value = Value({"kept": "1"}, "data")
    hidden = encryptor.encrypt(value, "param:p")

    assert isinstance(encryptor, Encryptor)
    assert hidden.headers == {"kept": "1", "x-encrypted": "true", "x-encryption-key-id": "old"}
    assert len(base64.b64decode(hidden.data or "")) == 12 + len("data") + 16
    assert encryptor.encrypt(value, "param:p").data != hidden.data
    assert encryptor.decrypt(hidden, "param:p") == value
    assert OLD.hex() not in repr(encryptor)


def test_unbound_encryptor_reads_values_of_other_programs() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = b"\1" * 12
    packed = base64.b64encode(nonce + AESGCM(OLD).encrypt(nonce, b"data", None)).decode()
    value = Value({"x-encrypted": "true", "x-encryption-key-id": "old"}, packed)

    unbound = AESGCMEncryptor({"old": OLD}, bound=False)
    assert unbound.decrypt(value, "param:p") == Value(None, "data")
    assert unbound.decrypt(unbound.encrypt(Value(data="x"), "param:p"), "value:q") == Value(data="x")
    with pytest.raises(DecryptionError):
        AESGCMEncryptor({"old": OLD}).decrypt(value, "param:p")


def test_encryption_keys_rotate() -> None:
    before = AESGCMEncryptor({"old": OLD})
    between = AESGCMEncryptor({"old": OLD, "new": NEW}, "new")
    after = AESGCMEncryptor({"new": NEW})
    value = Value(data="data")

    assert between.decrypt(before.encrypt(value, "c"), "c") == value
    assert after.decrypt(between.encrypt(value, "c"), "c") == value
    with pytest.raises(DecryptionError, match="encrypted with the key 'old', which this process does not have"):
        after.decrypt(before.encrypt(value, "c"), "c")


def test_encrypted_value_is_refused_if_changed_or_moved(subtests: pytest.Subtests) -> None:
    encryptor = AESGCMEncryptor({"old": OLD})
    value = encryptor.encrypt(Value(data="some data"), "param:p")
    for data, context in (
        (value.data, "param:q"),
        (value.data, "value:p"),
        ((value.data or "")[:-8] + "AAAAAAA=", "param:p"),
        ("AAAA", "param:p"),
        ("?", "param:p"),
    ):
        message = rf"\[304.00000\] cannot decrypt {context}: .*changed or moved"
        with subtests.test(data, context=context), pytest.raises(DecryptionError, match=message):
            encryptor.decrypt(replace(value, data=data), context)


def test_wrong_encryption_keys_are_refused_by_name(subtests: pytest.Subtests) -> None:
    cases: list[tuple[dict[str, bytes], str | None, str]] = [
        ({"a": b"short"}, None, "key 'a' has 5 bytes, and AES-256 needs 32"),
        ({}, None, "key_id must name the key to encrypt with: there are 0"),
        ({"a": OLD, "b": NEW}, None, "there are 2"),
        ({"a": OLD}, "b", "key_id 'b' is not among the keys: a"),
    ]
    for keys, key_id, message in cases:
        with subtests.test(message=message), pytest.raises(ValueError, match=message):
            AESGCMEncryptor(keys, key_id)


def test_encryption_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(ImportError, match=r"pip install resonate-serverless\[crypto\]"):
        AESGCMEncryptor({"old": OLD})


# The store


def test_encrypted_store_encrypts_requests_and_decrypts_responses(memory: MemoryStore, store: EncryptedStore) -> None:
    secret = sealed(SECRET)
    create = PromiseCreate("t", LATER, secret, {TARGET: "poll://any@g"})

    assert present(store.apply(TaskCreate("p1", 1000, create)).promise).param == secret
    for id in ("t.1", "t.2"):
        assert present(store.apply(TaskFence("t", 1, PromiseCreate(id, LATER, secret))).promise).param == secret
    assert store.apply(TaskFence("t", 1, PromiseSettle("t.1", "resolved", secret))).ok
    refused = store.apply(TaskSuspend("t", 1, ("t.1", "t.2")))
    assert [promise.value for promise in refused.preload] == [secret]
    assert store.apply(PromiseSettle("t.2", "rejected", secret)).ok
    assert store.apply(PromiseRecord("t.3", LATER, 0, "resolved", secret, secret, {"resonate:scope": "local"})).ok
    assert [(promise.param, promise.value) for promise in store.children("t")] == [(secret, secret)] * 3
    opened = store.open()
    assert opened.apply(TaskFulfill("t", 1, PromiseSettle("t", "resolved", secret))).ok
    opened.close()
    assert (read(store, "t").param, read(store, "t").value) == (secret, secret)
    assert store.apply(TaskAcquire("t", 1, "p2", 1000)).status == 409

    records = memory.records()
    assert len(records) == 4
    assert all(record.param.data and record.value.data for record in records)
    assert plaintext_in(records, SECRET) == []


def test_encrypted_param_of_a_schedule_reaches_its_promises(memory: MemoryStore, store: EncryptedStore) -> None:
    secret = sealed(SECRET)
    tags = {TARGET: "poll://any@g"}
    create = ScheduleCreate("s", "* * * * *", "{{.id}}.{{.timestamp}}", 60_000, secret, tags)
    created = present(store.apply(create).schedule)
    assert created.promise_param == secret
    memory.clock.sleep(created.next_run_at - memory.clock.now())
    memory.tick()

    (record,) = memory.records()
    assert plaintext_in([record], SECRET) == []
    assert read(store, record.id).param == secret
    assert present(store.apply(ScheduleGet("s")).schedule).promise_param == secret
    assert [schedule.promise_param for schedule in store.apply(ScheduleSearch()).schedules or ()] == [secret]
    assert [promise.param for promise in store.apply(PromiseSearch()).promises or ()] == [secret]


def test_encrypted_store_reads_plain_values_and_refuses_moved_ones(memory: MemoryStore, store: EncryptedStore) -> None:
    memory.apply(PromiseCreate("p", LATER, sealed("by hand")))
    store.apply(PromiseSettle("p", "resolved"))
    store.apply(PromiseCreate("rich", LATER, sealed("pay me")))
    memory.apply(PromiseCreate("poor", LATER, present(memory.record("rich")).param))

    assert (read(store, "p").param, read(store, "p").value) == (sealed("by hand"), Value())
    assert store.apply(PromiseGet("q")).status == 404
    with pytest.raises(DecryptionError, match="cannot decrypt param:poor"):
        store.apply(PromiseGet("poor"))


# Whole executions


def records_of(resonate: Resonate, offline: OfflineDriver | None) -> list[Record]:
    return cast("MemoryStore", resonate.store).records() if offline is None else offline.records()


def fail_once(ctx: Context, word: str) -> str:
    if ctx.info.attempt == 1:
        raise LookupError(f"{word} in an error")
    return f"{word} in a result"


def echo(_: Context, word: str) -> str:
    return word


def everything(ctx: Context, word: str) -> Flow:
    promise = yield ctx.promise(data=f"{word} in a promise")
    step = yield ctx.run(fail_once, word).options(retry_policy=Constant(1.001, 3))
    called = yield ctx.rpc("echo", word)
    copied = yield ctx.run(echo, word).options(id="elsewhere")
    lost = yield from caught(ctx.rpc("lose", word), KeyError)
    return [step, called, copied, lost.args[0], (yield promise)]


def lose(_: Context, word: str) -> Flow:
    yield from ()
    raise KeyError(f"{word} is lost")


@three_ways
def test_encrypted_store_hides_an_execution(connect: Connect, offline: OfflineDriver | None) -> None:
    resonate = connect(encryptor=AESGCMEncryptor({"old": OLD}), log_level="CRITICAL")
    for function in (everything, echo, lose):
        resonate.register(function)
    handle = resonate.begin_run("w", everything, SECRET)
    resonate.promises.create("by-hand", LATER, data=SECRET)
    with pytest.raises(TimeoutError):
        handle.result(0.2)
    resonate.promises.resolve("w.1", data=f'"{SECRET} by hand"')

    outcomes = [f"{SECRET} in a result", SECRET, SECRET, f"{SECRET} is lost", f"{SECRET} by hand"]
    assert handle.result(PATIENCE) == outcomes
    assert resonate.promises.get("by-hand").param.data == SECRET
    records = records_of(resonate, offline)
    expected = {"w", "w.1", "w.2", "w.2~1", "w.3", "w.4", "w.5", "elsewhere", "by-hand"}
    assert expected <= {record.id for record in records}
    assert plaintext_in(records, SECRET) == []
    for part in ("in a result", "LookupError", "Traceback"):
        assert plaintext_in(records, part) == []


class Prudish:
    """An encoder whose errors show the data."""

    def encode(self, obj: Any) -> str:
        return repr(obj)

    def decode(self, obj: str | None) -> Any:
        raise ValueError(f"cannot parse {obj!r}")


class Careless:
    """A retry policy whose errors show the secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def next(self, attempt: int) -> float | None:
        return self._secret if attempt else 0  # type: ignore[return-value]

    def choose(self, _: Any) -> Any:
        raise AttributeError(self._secret)


def talkative(ctx: Context, word: str, what: str) -> Flow:
    def fails(_: Context) -> None:
        raise LookupError(f"no {word}")

    policies: dict[str, Any] = {"retry_if": Constant(0, retry_if=lambda _: {}[word]), "next": Careless(word)}
    policies["policy"] = Careless(word).choose
    if what in policies:
        yield ctx.run(fails).options(retry_policy=policies[what])
    elif what == "result":
        yield ctx.run(echo, word).options(encoder=Prudish())
        yield ctx.sleep(2)
    elif what == "closed":
        try:
            yield ctx.sleep(1.1)
        finally:
            raise LookupError(word)
    return word


@three_ways
def test_encrypted_store_and_log_hide_errors_of_user_code(
    connect: Connect, offline: OfflineDriver | None, subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = connect(encryptor=AESGCMEncryptor({"old": OLD}), log_level="DEBUG")
    resonate.register(talkative)
    for what in ("retry_if", "next", "policy", "result", "closed"):
        with subtests.test(what):
            caplog.clear()
            with pytest.raises(Exception, match=SECRET):
                resonate.run(what, talkative, SECRET, what)

            assert plaintext_in(records_of(resonate, offline), SECRET) == []
            assert SECRET not in caplog.text
            if what in ("retry_if", "next"):
                assert "its retry policy" in caplog.text


def create_call(store: EncryptedStore, param: str) -> None:
    tags = {TARGET: "poll://any@g"}
    assert store.apply(PromiseCreate("w", LATER, sealed(param), tags)).ok


def worker_of(store: EncryptedStore, clock: Clock, **options: Any) -> Worker:
    """Return a worker that knows `echo` and `rest`."""
    registry = Registry()
    for function in (echo, rest):
        registry.add(function)
    return Worker(Resources(store, clock), registry, {}, "p1", **options)


def rest(ctx: Context) -> Flow:
    yield ctx.run(echo, "x")
    yield ctx.sleep(60)


def run_until_halted(memory: MemoryStore, worker: Worker) -> list[Report]:
    """Run the worker for each message of the task of `w`, until the task is not pending."""
    reports: list[Report] = []
    while present(memory.apply(TaskGet("w")).task).state == "pending":
        reports.append(worker.run("w", len(reports), 1000))
        if (due := memory.next_wake_at()) is not None:
            memory.clock.sleep(max(0, due - memory.clock.now()))
            memory.tick()
    return reports


@pytest.mark.parametrize("what", ["encoder", "function", "no call", "no JSON", "unexpected"])
def test_encrypted_store_and_log_hide_a_call_that_halts(
    memory: MemoryStore, store: EncryptedStore, what: str, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(SECRET)

    params = {"function": f'{{"func": "{SECRET}"}}', "no call": f'["{SECRET}"]', "no JSON": SECRET}
    create_call(store, params.get(what, f'{{"func": "echo", "args": ["{SECRET}"]}}'))
    worker = worker_of(store, memory.clock, private=True)
    if what == "encoder":
        worker.encoders["w"] = Prudish()
    if what == "unexpected":
        monkeypatch.setattr("resonate.engine.interpreter.Execution.start", fail)

    for report in run_until_halted(memory, worker):
        assert report.status in ("released", "lost")
        assert SECRET not in (report.error or "")
    halted = present(memory.record("w"))
    assert present(halted.task).state == "halted"
    assert plaintext_in([halted], SECRET) == []
    assert SECRET not in caplog.text
    assert "w" in caplog.text


@pytest.mark.parametrize("key", [{"old": NEW}, {"other": NEW}], ids=["another key", "no such key"])
def test_task_is_released_then_halted_without_the_encryption_key(
    memory: MemoryStore, store: EncryptedStore, key: dict[str, bytes]
) -> None:
    create_call(store, '{"func": "echo", "args": ["top secret"]}')
    wrong = EncryptedStore(memory, AESGCMEncryptor(key))

    reports = run_until_halted(memory, worker_of(wrong, memory.clock))
    assert [report.status for report in reports] == ["released"] * 10
    halted = present(memory.apply(TaskGet("w")).task)
    assert halted.state == "halted"
    for error in (reports[0].error, halted.error):
        assert "cannot decrypt param:w" in (error or "")
    with pytest.raises(StoreError, match="cannot decrypt"):
        wrong.apply(PromiseGet("w"))

    memory.apply(TaskContinue("w"))
    version = present(memory.apply(TaskGet("w")).task).version
    assert worker_of(store, memory.clock).run("w", version, 1000).status == "completed"
    assert read(store, "w").value == sealed('"top secret"')


def test_caller_that_cannot_be_decrypted_is_released_after_its_call(memory: MemoryStore, store: EncryptedStore) -> None:
    create_call(store, '{"func": "echo", "args": ["top secret"]}')
    held = present(memory.apply(TaskAcquire("w", 0, "p", 60_000)).task)
    caller = present(memory.apply(PromiseGet("w")).promise)

    class TakingOver(StoreWrapper):
        """A store whose fulfilment has acquired the caller."""

        def apply(self, request: Request) -> Response:
            if isinstance(request, FulfillAndTakeOver):
                return Response(task=held, preload=(caller,))
            return super().apply(request)

    wrong = EncryptedStore(TakingOver(memory), AESGCMEncryptor({"other": NEW}))
    response = wrong.apply(FulfillAndTakeOver("w.1", 1, PromiseSettle("w.1", "resolved")))
    assert (response.ok, response.task, response.preload) == (True, None, ())
    released = present(memory.apply(TaskGet("w")).task)
    assert released.state == "pending"
    assert "cannot decrypt param:w" in (released.error or "")


def test_task_is_released_if_a_step_cannot_be_decrypted(memory: OpenMemory, store: EncryptedStore) -> None:
    create_call(store, '{"func": "rest"}')
    worker = worker_of(store, memory.clock)
    assert worker.run("w", 0, 1000).status == "suspended"
    record = present(memory.record("w.1"))
    elsewhere = AESGCMEncryptor({"old": OLD}).encrypt(record.value, "value:elsewhere")
    memory.replace(replace(record, value=elsewhere))
    memory.clock.sleep(60_000)
    memory.tick()

    report = worker.run("w", 1, 1000)
    assert report.status == "released"
    assert "cannot decrypt value:w.1" in (report.error or "")
    assert present(memory.apply(TaskGet("w")).task).state == "pending"


@pytest.mark.parametrize("how", ["run", "rpc"])
@three_ways
def test_client_without_the_encryption_key_gets_an_error(connect: Connect, how: str) -> None:
    owner = connect(encryptor=AESGCMEncryptor({"old": OLD}), log_level="CRITICAL")
    owner.register(echo)
    assert getattr(owner, how)("a", echo, SECRET) == SECRET

    stranger = Resonate(store=owner.store, encryptor=AESGCMEncryptor({"old": NEW}), log_level="CRITICAL")
    try:
        with pytest.raises(DecryptionError, match="the key 'old' of this process is another one"):
            stranger.get("a").result(PATIENCE)
    finally:
        stranger.stop()
    assert owner.get("a").result(PATIENCE) == SECRET


def test_wrong_encryptor_is_refused_by_name() -> None:
    wrong: list[Any] = [AESGCMEncryptor, "key", 5]
    for encryptor in wrong:
        with pytest.raises(TypeError, match="encryptor must be an `Encryptor`"):
            Resonate.local(encryptor=encryptor)
