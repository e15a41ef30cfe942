"""OpenPGP keys of an institution, made by GnuPG, and what the institution does with them."""

import subprocess
from pathlib import Path

import gnupg


class KeyRing:
    """The keys of one institution, in a folder of its own."""

    def __init__(self, folder: Path):
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.gpg = gnupg.GPG(gnupghome=f"{folder}")

    def make(self, algorithm: str = "ed25519", made: str = "20250101T000000", expires: str = "0"):
        """Make a key and return its public half; `made` and `expires` are ISO dates or times."""
        name = f"{algorithm}-{made}-{expires}@bank.example".lower()
        self._run("--quick-generate-key", name, algorithm, "sign", expires, made=made)
        fingerprint = self.gpg.list_keys(keys=name)[0]["fingerprint"]
        encrypting = "cv25519" if algorithm == "ed25519" else algorithm
        self._run("--quick-add-key", fingerprint, encrypting, "encrypt", expires, made=made)
        return self.gpg.export_keys(fingerprint), fingerprint

    def revoke(self, fingerprint: str) -> str:
        """Revoke a key and return its public half."""
        certificate = self.folder / "openpgp-revocs.d" / f"{fingerprint}.rev"
        text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
        self.gpg.import_keys(text)
        return self.gpg.export_keys(fingerprint)

    def decrypt(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return self.gpg.decrypt_file(file).data

    def _run(self, *words: str, made: str) -> None:
        base = ["gpg", "--homedir", f"{self.folder}", "--batch", "--passphrase", "", "--yes"]
        command = [*base, "--pinentry-mode", "loopback", f"--faked-system-time={made}!", *words]
        subprocess.run(command, check=True, capture_output=True)

    def close(self) -> None:
        """Stop the agent that GnuPG started for this folder."""
        subprocess.run(
            ["gpgconf", "--homedir", f"{self.folder}", "--kill", "gpg-agent"],
            check=False,
            capture_output=True,
        )
