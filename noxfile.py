"""The checks of this project; ``scripts/test`` runs all of them."""

import os

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "unit", "functional", "docs", "integration"]

# The oldest line that is supported, and the newest; other releases are allowed by the
# package's metadata and not by what is tested here.
SALT = ["3006.28", "3008.3"]
PACKAGE = "src/saltext_repmgr"
CODE = ["src", "tests", "noxfile.py", "setup.py", "docs/conf.py"]


def _install(session, salt):
    session.install(f"salt=={salt}", "psycopg2-binary", "pytest", "pytest-salt-factories")
    session.install("--no-deps", "-e", ".")


@nox.session
def lint(session):
    """Format and lint."""
    session.install("black", "isort", "pylint", "salt==3008.3", "psycopg2-binary", "nox", "pytest")
    session.run("black", "--check", "--quiet", *CODE)
    session.run("isort", "--check", "--quiet", *CODE)
    session.run("pylint", PACKAGE, env={"PYTHONPATH": "src"})


@nox.session
@nox.parametrize("salt", SALT)
def unit(session, salt):
    """Pure functions and thin modules; seconds, no root."""
    _install(session, salt)
    session.run("pytest", "-q", "tests/unit", *session.posargs)


@nox.session
@nox.parametrize("salt", SALT)
def functional(session, salt):
    """Modules and states against a real PostgreSQL on this machine; needs root."""
    _install(session, salt)
    session.run("pytest", "-q", "tests/functional", *session.posargs)


@nox.session
def integration(session):
    """Whole clusters on hosts of their own; needs root."""
    _install(session, "3008.3")
    session.run("pytest", "-q", "tests/integration", *session.posargs)


@nox.session
def docs(session):
    """The documentation, without a warning."""
    session.install("sphinx", "myst-parser", "furo", "salt==3008.3", "psycopg2-binary")
    session.install("--no-deps", "-e", ".")
    out = os.path.join(session.create_tmp(), "html")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", out)
