"""The checks of this project; ``scripts/test`` runs all of them."""

import os

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = [
    "lint",
    "unit-3006",
    "unit-3008",
    "docs",
    "functional-3006",
    "functional-3008",
    "integration",
]

# The oldest line that is supported, and the newest; other releases are allowed by the
# package's metadata and not by what is tested here.
SALT = {"3006": "3006.28", "3008": "3008.3"}
PACKAGE = "src/saltext_repmgr"
CODE = ["src", "tests", "noxfile.py", "setup.py", "docs/conf.py"]


def in_venv(line, name=None):
    """A session in the virtual environment of a Salt release: one serves several, since
    installing Salt takes longer than most of the checks."""
    return nox.session(name=name, venv_location=f".nox/salt-{line}")


def _install(session, line, *more):
    session.install(
        f"salt=={SALT[line]}", "psycopg2-binary", "pytest", "pytest-salt-factories", *more
    )
    session.install("--no-deps", "--quiet", "-e", ".")


@in_venv("3008")
def lint(session):
    """Format and lint."""
    # A formatter of another year formats differently.
    _install(session, "3008", "black==26.*", "isort==8.*", "pylint", "nox")
    session.run("black", "--check", "--quiet", *CODE)
    session.run("isort", "--check", "--quiet", *CODE)
    session.run("pylint", PACKAGE)


def _tests(line, kind):
    @in_venv(line, name=f"{kind}-{line}")
    def session_of_tests(session):
        _install(session, line)
        session.run("pytest", "-q", f"tests/{kind}", *session.posargs)

    return session_of_tests


for release in SALT:
    # Pure functions and thin modules; seconds, no root.
    _tests(release, "unit")
    # Modules against a real PostgreSQL on this machine; needs root.
    _tests(release, "functional")


@in_venv("3008")
def integration(session):
    """Whole clusters on hosts of their own; needs root."""
    _install(session, "3008")
    session.run("pytest", "-q", "tests/integration", "--durations=15", *session.posargs)


@in_venv("3008")
def docs(session):
    """The documentation, without a warning."""
    _install(session, "3008", "sphinx", "myst-parser", "furo")
    out = os.path.join(session.create_tmp(), "html")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", out)
