"""A PostgreSQL server for tests and benchmarks: from the system's binaries, run by an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg


def binaries() -> Path | None:
    """Return the folder with ``initdb`` and ``pg_ctl``, or None."""
    on_path = shutil.which("pg_ctl")
    folders = [*([Path(on_path).parent] if on_path else []), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class Postgres:
    """A server that listens only on a socket in its own folder."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not pytest's own folder: only the user who runs the tests may enter that.
        self.folder = Path(tempfile.mkdtemp(prefix="drft-pg-"))
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "--auth=trust", "--username=drft", "--no-sync", "--no-locale", "--encoding=UTF8")

    def start(self) -> None:
        """Start, and wait until the server accepts connections."""
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=30"
        self._run("pg_ctl", "start", "-w", "-s", "-o", options, "-l", str(self.folder / "log"))

    def crash(self) -> None:
        """Stop at once; clients are not notified."""
        self._run("pg_ctl", "stop", "-w", "-s", "-m", "immediate")

    def restart(self) -> bool:
        """Crash and start again."""
        self.crash()
        self.start()
        return True

    def database(self, name: str) -> str:
        """Create a database and return its URL, as a user would write it."""
        with psycopg.connect(host=str(self.folder), user="drft", dbname="postgres", autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return f"postgresql://drft@/{name}?host={self.folder}"

    def remove(self) -> None:
        """Stop and delete all files."""
        self.crash()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, user=self._user, cwd="/", stdout=subprocess.DEVNULL)
