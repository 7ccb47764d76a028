"""The environment of a process we start for a model: a short list of names, and what the caller adds.

One rule for `exec` and for stdio skills. What is not named here does not pass, so no key of the runtime's own
environment reaches a child unless it was asked for by name. Names that decide *which code* a program loads
(loader, interpreter, hook and registry settings) cannot be added either: a command then runs what it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

INHERITED = (
    "PATH",
    "HOME",
    "SHELL",
    "TERM",
    "NODE_PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "PERSTACK_PROXY_URL",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
)
"""What passes from the runtime's own environment, if it is set and not empty."""

PROTECTED = frozenset(
    {
        # where programs, homes and modules are found
        "PATH",
        "HOME",
        "SHELL",
        "NODE_PATH",
        "GCONV_PATH",
        # code that runs before the program's own
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYLIB",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "_JAVA_OPTIONS",
        "BASH_ENV",
        "ENV",
        "ZDOTDIR",
        # commands that git starts
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_PROXY_COMMAND",
        "GIT_ASKPASS",
        "GIT_EXEC_PATH",
        "GIT_TEMPLATE_DIR",
        # where packages come from, and what their installers run
        "NPM_CONFIG_GLOBALCONFIG",
        "NPM_CONFIG_IGNORE_SCRIPTS",
        "NPM_CONFIG_NODE_OPTIONS",
        "NPM_CONFIG_PREFIX",
        "NPM_CONFIG_SCRIPT_SHELL",
        "NPM_CONFIG_USERCONFIG",
        "PIP_CONFIG_FILE",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "UV_CONFIG_FILE",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_INDEX",
        "UV_INDEX_URL",
        # whom TLS believes
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
    }
)
"""What cannot be added, compared upper-cased."""

_PROTECTED_SHAPES = re.compile(
    r"LD_.*|DYLD_.*"  # the dynamic loader
    r"|BASH_FUNC_.*"  # functions a shell imports from its environment
    r"|GIT_CONFIG.*"  # git settings, hooks and aliases among them
    r"|NPM_CONFIG_.*REGISTRY",  # also per scope: npm_config_@acme:registry
    re.DOTALL,
)


def is_protected(name: str) -> bool:
    """Whether `name` cannot be set for a child. npm reads `-` as `_` in its names, so we do."""
    plain = name.upper().replace("-", "_")
    return plain in PROTECTED or _PROTECTED_SHAPES.fullmatch(plain) is not None


def clean_env(process_env: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: the inherited names of `process_env`, and `extra` without protected ones.

    Names in `extra` that no environment can hold (empty, or with `=` or a null byte) are left out as well.
    """
    env = {name: process_env[name] for name in INHERITED if process_env.get(name)}
    return env | {name: value for name, value in extra.items() if _may_be_added(name)}


def _may_be_added(name: str) -> bool:
    return bool(name) and not is_protected(name) and not {"=", "\0"} & set(name)
