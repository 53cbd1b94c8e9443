"""Debian's docker-registry on loopback, with TLS and htpasswd, for tests against a registry that is not our own. None of it is left behind."""

import pathlib
import shutil
import socket
import subprocess
import warnings

from .registry import PASSWORD, USER, Certificates
from .waiting import eventually

PROGRAM = shutil.which("docker-registry")
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}"""


def hashed(password):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import crypt  # of Debian's python: libxcrypt knows bcrypt, the only kind that docker-registry takes
    return crypt.crypt(password, "$2b$05$abcdefghijklmnopqrstuu")


class DockerRegistry:
    def __init__(self, directory, tls=True, auth=True):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = f"127.0.0.1:{self.port}"
        self.certificates = Certificates(self.directory / "tls") if tls else None
        paths = f", tls: {{certificate: {self.certificates.certificate}, key: {self.certificates.key}}}" if tls else ""
        (self.directory / "htpasswd").write_text(f"{USER}:{hashed(PASSWORD)}\n")
        words = f"auth: {{htpasswd: {{realm: test, path: {self.directory}/htpasswd}}}}\n" if auth else ""
        self.config = self.directory / "config.yml"
        self.config.write_text(CONFIG.format(root=self.directory, port=self.port, tls=paths, auth=words))
        self.process = None

    def __enter__(self):
        self.log = (self.directory / "log").open("wb")
        self.process = subprocess.Popen([PROGRAM, "serve", str(self.config)], stdout=self.log, stderr=self.log)
        eventually(self.answers, 20, lambda: f"docker-registry listens: {(self.directory / 'log').read_text()}")
        return self

    def answers(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def skopeo(self, *args):
        """A copy with this registry's authority and credentials."""
        certs = self.directory / "certs"
        certs.mkdir(exist_ok=True)
        if self.certificates:
            shutil.copy(self.certificates.ca, certs / "ca.crt")
        words = ["skopeo", "--insecure-policy", *args]
        return subprocess.run(words, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "TMPDIR": str(self.directory)})
