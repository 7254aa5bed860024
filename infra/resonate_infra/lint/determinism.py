"""Rules for what differs at each run: clocks, random numbers, ids, input and output, and the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from resonate_infra.lint.source import Namespace
from resonate_infra.lint.workflows import Code

Found = tuple[str, ast.AST, str]
"""The code of a rule, the place, and the message."""

_CLOCKS = frozenset(
    {f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")}
    | {f"time.{name}" for name in ("process_time", "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime")}
    | {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"datetime.date.today", "arrow.now", "arrow.utcnow", "django.utils.timezone.now"}
    | {f"pendulum.{name}" for name in ("now", "today", "tomorrow", "yesterday")}
)
_CLOCKS_WITHOUT = {"time.gmtime": 0, "time.localtime": 0, "time.ctime": 0, "time.asctime": 0, "time.strftime": 1}
"""Functions that read the clock if they have at most so many arguments."""

_DRAWS = ("random.", "secrets.", "numpy.random.")
_DRAWS_WHOLE = frozenset({"os.urandom", "os.getrandom"})
_SEEDED = frozenset(
    {"random.Random", "numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.SeedSequence"}
)
"""Generators that repeat their numbers if they get a seed."""
_GENERATORS = _SEEDED | {"random.SystemRandom", "secrets.SystemRandom"}
_NOT_DRAWN = frozenset({"secrets.compare_digest", "numpy.random.Generator"})

_IDS = frozenset(
    {f"uuid.uuid{number}" for number in (1, 4, 6, 7)} | {"nanoid.generate", "shortuuid.uuid", "ulid.new", "ulid.ULID"}
)

_FILES = (
    *("remove", "unlink", "rename", "renames", "replace", "mkdir", "makedirs", "rmdir", "removedirs", "listdir"),
    *("scandir", "walk", "stat", "lstat", "system", "popen", "chmod", "chown", "link", "symlink", "truncate", "open"),
    *("access", "utime", "kill", "fork", "execv", "spawnv"),
)
_IO = frozenset(
    {"builtins.open", "builtins.input", "io.open", "codecs.open", "glob.glob", "glob.iglob"}
    | {f"os.{name}" for name in _FILES}
    | {f"os.path.{name}" for name in ("exists", "isfile", "isdir", "islink", "getsize", "getmtime", "getctime")}
    | {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output", "getoutput")}
    | {"subprocess.getstatusoutput", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"}
    | {"asyncio.open_connection", "asyncio.start_server", "urllib.request.urlopen", "urllib.request.urlretrieve"}
    | {f"socket.{name}" for name in ("create_connection", "getaddrinfo", "gethostbyname", "create_server")}
    | {f"{client}.{name}" for client in ("requests", "httpx") for name in ("get", "post", "put", "patch", "delete")}
    | {f"{client}.{name}" for client in ("requests", "httpx") for name in ("head", "options", "request", "stream")}
    | {"aiohttp.request", "urllib3.request", "webbrowser.open", "websockets.connect"}
    | {f"pandas.read_{kind}" for kind in ("csv", "excel", "json", "parquet", "sql", "sql_query", "sql_table", "pickle")}
    | {f"numpy.{name}" for name in ("load", "save", "savez", "loadtxt", "savetxt", "genfromtxt")}
    | {"torch.load", "torch.save", "joblib.load", "joblib.dump"}
    | {
        f"tempfile.{name}"
        for name in ("NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkstemp", "mkdtemp")
    }
    | {f"shutil.{name}" for name in ("copy", "copy2", "copyfile", "copytree", "move", "rmtree", "make_archive")}
)
CLIENTS = frozenset(
    {"boto3.client", "boto3.resource", "boto3.Session", "boto3.session.Session", "requests.Session", "requests.session"}
    | {"httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession", "urllib3.PoolManager", "socket.socket"}
    | {"http.client.HTTPConnection", "http.client.HTTPSConnection", "smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP"}
    | {"sqlite3.connect", "psycopg.connect", "psycopg2.connect", "pymysql.connect", "asyncpg.connect"}
    | {"asyncpg.create_pool", "redis.Redis", "redis.StrictRedis", "redis.from_url", "pymongo.MongoClient"}
    | {"sqlalchemy.create_engine", "sqlalchemy.ext.asyncio.create_async_engine", "mysql.connector.connect"}
    | {"openai.OpenAI", "openai.AsyncOpenAI", "anthropic.Anthropic", "anthropic.AsyncAnthropic", "twilio.rest.Client"}
    | {"google.cloud.storage.Client", "google.cloud.bigquery.Client", "elasticsearch.Elasticsearch"}
    | {"kafka.KafkaProducer", "kafka.KafkaConsumer", "pika.BlockingConnection", "paramiko.SSHClient"}
    | {"imaplib.IMAP4", "imaplib.IMAP4_SSL", "grpc.insecure_channel", "grpc.secure_channel"}
)
"""Constructors of objects whose methods do input or output."""
_OF_STRIPE = tuple(f".{verb}" for verb in ("create", "retrieve", "modify", "list", "cancel", "capture", "confirm"))
_PATHS = frozenset(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath"))
_OF_PATHS = frozenset(
    {"exists", "is_file", "is_dir", "iterdir", "glob", "rglob", "mkdir", "rmdir", "unlink", "touch", "rename"}
    | {"stat", "open", "resolve"}
)
_OF_FILES = frozenset({"read_text", "write_text", "read_bytes", "write_bytes"})

_SLEEPS = frozenset(f"{module}.sleep" for module in ("time", "asyncio", "trio", "anyio", "gevent", "eventlet"))

_TASKS = frozenset(
    {"create_task", "gather", "ensure_future", "wait", "wait_for", "timeout", "timeout_at", "as_completed", "shield"}
    | {"TaskGroup", "to_thread", "run", "run_coroutine_threadsafe"}
)
_CONCURRENT = frozenset(
    {f"asyncio.{name}" for name in _TASKS}
    | {"threading.Thread", "threading.Timer", "_thread.start_new_thread", "trio.open_nursery", "trio.run"}
    | {"anyio.create_task_group", "anyio.run", "multiprocessing.Process", "multiprocessing.Pool"}
    | {"multiprocessing.pool.ThreadPool", "concurrent.futures.wait", "concurrent.futures.as_completed"}
    | {"concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor"}
    | {f"concurrent.futures.{name}.{kind}PoolExecutor" for name, kind in (("thread", "Thread"), ("process", "Process"))}
)

_SURROUNDINGS = frozenset(
    {f"os.{name}" for name in ("getenv", "getenvb", "getpid", "getppid", "getcwd", "getlogin", "uname", "cpu_count")}
    | {"os.getloadavg", "socket.gethostname", "socket.getfqdn", "getpass.getuser", "locale.getlocale"}
    | {f"platform.{name}" for name in ("node", "platform", "system", "machine", "release", "uname", "python_version")}
    | {"tempfile.gettempdir", "uuid.getnode"}
)
_VARIABLES = frozenset({"os.environ", "os.environb", "sys.argv"})


def check(code: Code) -> Iterator[Found]:
    """Yield what differs at each run in replayed code."""
    if not code.replayed:
        return
    for node in code.space.nodes:
        if isinstance(node, ast.Call):
            yield from _call(code, node)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            yield from _variable(code, node)


def _call(code: Code, node: ast.Call) -> Iterator[Found]:
    space = code.space
    name = space.dotted(node.func)
    if name is None or (isinstance(node.func, ast.Attribute) and name.startswith("builtins.") and name not in _IO):
        yield from _method(code, node)
        return
    shown = f"`{name.removeprefix('builtins.')}`"
    where = code.where
    given = len(node.args) + len(node.keywords)
    if name in _CLOCKS or given <= _CLOCKS_WITHOUT.get(name, -1):
        way = f"write `{code.awaits} ctx.time.time()`, or read the clock in a step"
        yield "RS001", node, f"{shown} in {where} gives another time at each replay: {way}"
    elif _draws(name, given):
        way = f"write `{code.awaits} ctx.random.random()` or its like, or draw in a step"
        yield "RS002", node, f"{shown} in {where} gives another value at each replay: {way}"
    elif name in _IDS:
        way = "make it in a step, or derive it from `ctx.id`"
        yield "RS003", node, f"{shown} in {where} gives another id at each replay: {way}"
    elif name in _IO or name in CLIENTS or (name.startswith("stripe.") and name.endswith(_OF_STRIPE)):
        yield "RS004", node, f"{shown} in {where} is repeated by each replay: {_step(code)}"
    elif name in _SLEEPS:
        way = f"write `{code.awaits} ctx.sleep(...)`"
        yield "RS005", node, f"{shown} in {where} is not durable, and is repeated by each replay: {way}"
    elif name in _CONCURRENT:
        way = "use `ctx.begin_run`, `ctx.all`, `ctx.race`, `ctx.map` or `ctx.wait`"
        yield "RS006", node, f"{shown} in {where} is not replayed: {way}"
    elif name in _SURROUNDINGS:
        yield "RS007", node, f"{shown} in {where} depends on the process that replays it: {_fact(code)}"


def _method(code: Code, node: ast.Call) -> Iterator[Found]:
    """Yield input and output by methods of objects whose kind is known."""
    if not isinstance(node.func, ast.Attribute):
        return
    method, of = node.func.attr, node.func.value
    shown = f"`{ast.unparse(node.func)}`" if isinstance(of, ast.Name) else f"`{method}`"
    if method == "run_in_executor":
        yield (
            "RS006",
            node,
            f"{shown} in {code.where} is not replayed: use `ctx.begin_run`, which runs steps in threads",
        )
    if (
        method in _OF_FILES
        or (method in _OF_PATHS and _made_by(code.space, of) in _PATHS)
        or (isinstance(root := _root(of), ast.Name) and _made_by(code.space, root) in CLIENTS)
    ):
        yield "RS004", node, f"{shown} in {code.where} is repeated by each replay: {_step(code)}"
    elif isinstance(of, ast.Name) and _is_of_module(code.space, of.id) and _made_by(code.space, of) in _GENERATORS:
        way = "draw in a step, or from a generator that the workflow makes with a seed"
        yield "RS002", node, f"{shown} in {code.where} gives another value at each replay: {way}"


def _root(node: ast.expr) -> ast.expr:
    """Return the object that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _is_of_module(space: Namespace, name: str) -> bool:
    """Return whether a name is a variable of the module. All executions of a process share what it holds."""
    return space.find(name) is space.source.module


def _made_by(space: Namespace, node: ast.expr) -> str | None:
    """Return the full name of what has made an object."""
    if isinstance(node, ast.Name):
        values = space.values_of(node)
        if not values or len(values) != 1:
            return None
        space = space.find(node.id) or space
        node = values[0]
        if isinstance(node, ast.Await):
            node = node.value
    while isinstance(node, ast.Call):
        name = space.dotted(node.func)
        if name is not None or not isinstance(node.func, ast.Attribute):
            return name
        node = node.func.value  # the table of `boto3.resource("dynamodb").Table("orders")`
    return None


def _variable(code: Code, node: ast.Attribute | ast.Name) -> Iterator[Found]:
    name = code.space.dotted(node)
    if name in _VARIABLES:
        yield "RS007", node, f"`{name}` in {code.where} depends on the process that replays it: {_fact(code)}"


def _draws(name: str, given: int) -> bool:
    if name in _SEEDED:
        return given == 0
    return name in _DRAWS_WHOLE or (name.startswith(_DRAWS) and name not in _NOT_DRAWN)


def _step(code: Code) -> str:
    return f"move it into a step, and call that by `{code.awaits} ctx.run(...)`"


def _fact(code: Code) -> str:
    return f"read it in a step (`{code.awaits} ctx.run(...)`), or pass it as an argument"
