"""Whatever root reads and writes goes through utils.confined; docs/security.md has the rule.

The programs below guard/ and router/ run as the postgres user. What else reaches files in another
way is listed here, with the reason.
"""

import ast
from pathlib import Path

import pytest

import saltext_repmgr

SOURCE = Path(saltext_repmgr.__file__).parent
STATES = SOURCE.parents[1] / "states"
# By the names of functions and methods that take a path or follow one.
_OF_OS = {
    *("open", "chown", "chmod", "lchown", "replace", "rename", "renames", "unlink", "remove"),
    *("mkdir", "makedirs", "rmdir", "removedirs", "symlink", "link", "listdir", "scandir", "walk"),
    *("truncate", "utime", "mkfifo", "mknod", "stat"),
}
_OF_SHUTIL = {"copy", "copy2", "copyfile", "copytree", "move", "rmtree", "chown", "copymode"}
_OF_PATHS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "touch", "unlink", "rmdir", "mkdir"),
    *("iterdir", "glob", "rglob", "exists", "is_dir", "is_file", "is_mount", "stat", "chmod"),
    *("symlink_to", "hardlink_to", "open"),
}
# Salt's own, which run as root and follow links.
_OF_SALT = ("file.", "ssh_auth.", "ssh_known_hosts.")
# ``{file: (its calls, why they may be)}``
ALLOWED = {
    "utils/guard_files.py": (
        "path.is_file path.read_text source.iterdir",
        "reads its own programs in the package",
    ),
    "utils/router_files.py": (".glob path.read_text", "reads its own programs in the package"),
    "utils/spool.py": ("path.read_text", "reads its own program in the package"),
    "utils/healing.py": ("open os.makedirs", "on the master, in Salt's own cache directory"),
    "utils/command.py": ("os.listdir", "the directory of PostgreSQL's programs"),
    "utils/packages.py": (".glob", "dpkg's directory, root's"),
    "utils/host.py": (
        ".read_text os.utime",
        "/proc and /etc/os-release; the time of a file by a descriptor of utils.confined",
    ),
    "utils/trial.py": (
        ".exists .touch handed.chmod handed.write_text open os.chmod os.chown work.mkdir",
        "a directory of its own below /tmp in which root alone writes; see _scratch there",
    ),
    "utils/other_repmgrd.py": (
        ".glob .read_text _UNIT_FILE.exists",
        "/proc, and the unit of repmgrd in a directory of root's",
    ),
    "utils/observe.py": (
        ".exists .read_text",
        "PostgreSQL's program, and SSH's public host keys in /etc/ssh",
    ),
    "utils/router_observe.py": (".exists", "PgBouncer's program"),
    "utils/router_act.py": (".glob os.chown", "a directory of its own below /tmp, given away last"),
    "utils/membership.py": (
        ".exists _UNITS.glob link.unlink",
        "links and units below /etc/systemd",
    ),
    "utils/act.py": (
        "os.chmod",
        "a directory of its own below /tmp",
    ),
    "states/repmgr_daemon.py": ("file.managed", "the minion's own configuration directory, root's"),
    "utils/deliver.py": (
        "os.open os.rename",
        "the spool itself, whose parent is root's; names in it by its descriptor",
    ),
}


def _calls(path):
    """Return the names of the functions in a file that reach files by a path, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open":
            yield "open", node.lineno
        elif isinstance(function, ast.Attribute):
            owner = function.value.id if isinstance(function.value, ast.Name) else ""
            known = {"os": _OF_OS, "shutil": _OF_SHUTIL, "confined": ()}
            if function.attr in known.get(owner, _OF_PATHS):
                yield f"{owner}.{function.attr}", node.lineno
        elif isinstance(function, ast.Subscript) and isinstance(function.slice, ast.Constant):
            yield from _salt_call(function, node.lineno)


def _salt_call(function, line):
    name = function.slice.value
    if isinstance(name, str) and name.startswith(_OF_SALT):
        yield name, line


def _files():
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if not name.startswith(("guard/", "router/")):
            yield name, path


def test_files_are_reached_by_the_one_mechanism():
    found = {}
    for name, path in _files():
        calls = {call for call, _ in _calls(path)}
        if calls and name != "utils/confined.py":
            found[name] = calls
    # Neither more nor less: what is listed in vain would cover the next one.
    assert found == {name: set(calls.split()) for name, (calls, _) in ALLOWED.items()}


# Where Salt's own states write: directories of root's alone.
_ROOTS = (
    *("/etc/systemd/system/", "/etc/sudoers.d/", "/etc/postgresql-common/createcluster.d/"),
    *("{{ node.repmgr_conf }}", "{{ node.spool }}", "{{ router.drop_in }}", "{{ path }}"),
)


@pytest.mark.parametrize("path", sorted(STATES.rglob("*.sls")), ids=lambda path: path.name)
def test_salts_own_states_write_where_only_root_can(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith(("file.managed", "file.directory", "file.symlink")):
            assert lines[number - 1].startswith(_ROOTS), lines[number - 1]
        assert not line.strip().startswith(("ssh_auth.", "ssh_known_hosts.", "file.blockreplace"))
