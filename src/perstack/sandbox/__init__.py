"""The walls around what a job runs, and the one way out through them."""

from __future__ import annotations

from perstack._kept import Place

from .containers import (
    USUAL_PATH,
    ContainerWalls,
    Image,
    container_policy,
    open_container_walls,
)
from .daemon import client_env, docker_told
from .docker import DEFAULT_BASE, dockerfile, image_of, progress_in, whole_dockerfile
from .egress import Egress, open_egress
from .host import trusted_path
from .layers import Layers, layers_of, look_for_layers
from .names import Rule, rules_of
from .native import NativeWalls, policy_for
from .policy import Mount, Policy, WallLimits, policy_of
from .variables import certificates, proxy_variables

__all__ = [
    "DEFAULT_BASE",
    "USUAL_PATH",
    "ContainerWalls",
    "Egress",
    "Image",
    "Layers",
    "Mount",
    "NativeWalls",
    "Place",
    "Policy",
    "Rule",
    "WallLimits",
    "certificates",
    "client_env",
    "container_policy",
    "docker_told",
    "dockerfile",
    "image_of",
    "layers_of",
    "look_for_layers",
    "open_container_walls",
    "open_egress",
    "policy_for",
    "policy_of",
    "progress_in",
    "proxy_variables",
    "rules_of",
    "trusted_path",
    "whole_dockerfile",
]
