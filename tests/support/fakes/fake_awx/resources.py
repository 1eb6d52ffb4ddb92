# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of each resource of AWX 24.6.1, as data.

The sources are awx/api/serializers.py, awx/main/models and awx/main/notifications of AWX, and what AWX answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

VERSION = "24.6.1"


@dataclass(frozen=True)
class Key:
    """A foreign key.

    If the other item is deleted, the item of a key with ``cascade`` is deleted, too. Another key becomes null. A key
    that is ``fixed`` cannot be changed after the item was created, and one that is ``inferred`` cannot be given. A key
    that is ``hidden`` is only in the item's summary.
    """

    to: str
    cascade: bool = False
    fixed: bool = False
    inferred: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Resource:
    """What is true of a resource.

    ``fields`` are the fields that a client may give, with their defaults. The type of a default is the type of the
    field; a default of None takes any value. ``shown`` are the fields that a client can only read. ``lists`` are the
    associations, by the last part of their path, and ``listed`` are those of them whose ids the item shows. ``unique``
    are the fields that identify an item; AWX checks some of them in its own code (``soft``) and has other words then.
    ``summarized`` are the associations that the item's summary shows. ``actions`` are more paths below an item.
    """

    model: str
    fields: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    required: tuple[str, ...] = ("name",)
    unique: tuple[str, ...] = ("name",)
    soft: bool = False
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    identity: str = "name"
    actions: tuple[str, ...] = ()
    summarized: tuple[str, ...] = ()
    may_create: bool = True
    has_named_url: bool = True

    @property
    def type(self) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.model).lower()

    @property
    def label(self) -> str:
        """The model's name in a sentence."""
        return self.type.replace("_", " ").capitalize()


UNIONS = {
    "unified_job_templates": ("job_templates", "projects", "inventory_sources", "workflow_job_templates"),
    "templates_of_nodes": (
        "job_templates", "projects", "inventory_sources", "workflow_job_templates", "workflow_approval_templates",
    ),
}  # fmt: skip
"""Resources that a path or a foreign key takes together."""

SUBLISTS = {"workflow_job_template_nodes": "workflow_nodes", "credential_input_sources": "input_sources"}
"""The names of the lists below an item that are not the names of their resources."""

UNION_MODELS = {"unified_job_templates": "UnifiedJobTemplate"}

VARIABLES = ("extra_vars", "variables", "source_vars")
"""Fields whose text is an object in JSON or YAML."""

SIGNED = ("timeout",)
"""Numbers that may be negative."""

ONLY_BY_ID = ("galaxy_credentials", "instance_groups")
"""Associations with an item that must exist. To another association, a client can send a new item."""

# Fields that several resources share

DESCRIBED = {"name": "", "description": ""}
JOB_STATUS = {"last_job_run": None, "last_job_failed": False, "next_job_run": None, "status": "never updated"}
UPDATE_STATUS = {**JOB_STATUS, "last_update_failed": False, "last_updated": None, "custom_virtualenv": None}
JOB = {
    "status": "successful", "failed": False, "started": None, "finished": None, "elapsed": 0.0,
    "event_processing_finished": True, "scm_revision": "",
}  # fmt: skip
ORGANIZATION = Key("organizations")
OWNER = Key("organizations", cascade=True)
ENVIRONMENT = Key("execution_environments")
DEFAULT_MESSAGES = {"started": None, "success": None, "error": None, "workflow_approval": None}
NOTIFICATIONS = {
    f"notification_templates_{event}": "notification_templates" for event in ("started", "success", "error")
}
APPROVALS = {"notification_templates_approvals": "notification_templates"}
GROUPS = {"instance_groups": "instance_groups"}
VERBOSITIES = (0, 1, 2, 3, 4, 5)

ASKS = {
    "scm_branch": "ask_scm_branch_on_launch", "job_type": "ask_job_type_on_launch", "job_tags": "ask_tags_on_launch",
    "skip_tags": "ask_skip_tags_on_launch", "limit": "ask_limit_on_launch", "diff_mode": "ask_diff_mode_on_launch",
    "verbosity": "ask_verbosity_on_launch", "forks": "ask_forks_on_launch", "timeout": "ask_timeout_on_launch",
    "job_slice_count": "ask_job_slice_count_on_launch", "inventory": "ask_inventory_on_launch",
    "execution_environment": "ask_execution_environment_on_launch", "credentials": "ask_credential_on_launch",
    "labels": "ask_labels_on_launch", "instance_groups": "ask_instance_groups_on_launch",
    "extra_vars": "ask_variables_on_launch",
}  # fmt: skip
"""What a schedule or a node may set, and the field with which a template allows it."""

LAUNCH: dict[str, Any] = {
    "extra_data": {}, "scm_branch": None, "job_type": None, "job_tags": None, "skip_tags": None, "limit": None,
    "diff_mode": None, "verbosity": None, "forks": None, "job_slice_count": None, "timeout": None,
}  # fmt: skip
LAUNCH_KEYS = {"inventory": Key("inventories"), "execution_environment": ENVIRONMENT}
LAUNCH_LISTS = {"credentials": "credentials", "labels": "labels", **GROUPS}
LAUNCH_CHOICES = {"job_type": ("run", "check"), "verbosity": VERBOSITIES}
NODES = {f"{event}_nodes": "workflow_job_template_nodes" for event in ("success", "failure", "always")}

KINDS = (
    "ssh", "vault", "net", "scm", "cloud", "registry", "token", "insights", "external", "kubernetes", "galaxy",
    "cryptography",
)  # fmt: skip

RESOURCES = {
    "organizations": Resource(
        "Organization", {**DESCRIBED, "max_hosts": 0},
        keys={"default_environment": ENVIRONMENT},
        lists={
            **NOTIFICATIONS, **APPROVALS, **GROUPS, "galaxy_credentials": "credentials", "users": "users",
            "admins": "users",
        },
        shown={"custom_virtualenv": None},
    ),
    "users": Resource(
        "User",
        {
            "username": "", "first_name": "", "last_name": "", "email": "", "is_superuser": False,
            "is_system_auditor": False, "password": "",
        },
        required=("username", "password"), unique=("username",), identity="username",
        shown={"ldap_dn": "", "last_login": None, "external_account": None, "auth": []},
    ),
    "teams": Resource(
        "Team", DESCRIBED, keys={"organization": OWNER}, lists={"users": "users"},
        required=("name", "organization"), unique=("organization", "name"),
    ),
    "credential_types": Resource(
        "CredentialType", {**DESCRIBED, "kind": "", "inputs": {}, "injectors": {}},
        required=("name", "kind"), unique=("name", "kind"), choices={"kind": KINDS},
        shown={"namespace": None, "managed": False},
    ),
    "credentials": Resource(
        "Credential", {**DESCRIBED, "inputs": {}},
        keys={"organization": OWNER, "credential_type": Key("credential_types", cascade=True)},
        required=("name", "credential_type"), unique=("organization", "name", "credential_type"),
        shown={"managed": False},
    ),
    "credential_input_sources": Resource(
        "CredentialInputSource", {"description": "", "input_field_name": "", "metadata": {}},
        keys={
            "target_credential": Key("credentials", cascade=True),
            "source_credential": Key("credentials", cascade=True),
        },
        required=("input_field_name", "target_credential", "source_credential"),
        unique=("target_credential", "input_field_name"), identity="id", has_named_url=False,
    ),
    "execution_environments": Resource(
        "ExecutionEnvironment", {**DESCRIBED, "image": "", "pull": ""},
        keys={"organization": OWNER, "credential": Key("credentials")},
        required=("name", "image"), choices={"pull": ("always", "missing", "never")}, shown={"managed": False},
    ),
    "instance_groups": Resource(
        "InstanceGroup",
        {
            "name": "", "is_container_group": False, "max_concurrent_jobs": 0, "max_forks": 0,
            "policy_instance_percentage": 0, "policy_instance_minimum": 0, "policy_instance_list": [],
            "pod_spec_override": "",
        },
        keys={"credential": Key("credentials")}, shown={"capacity": 0, "instances": 0},
    ),
    "projects": Resource(
        "Project",
        {
            **DESCRIBED, "scm_type": "", "scm_url": "", "scm_branch": "", "scm_refspec": "", "scm_clean": False,
            "scm_track_submodules": False, "scm_delete_on_update": False, "timeout": 0, "local_path": "",
            "scm_update_on_launch": False, "scm_update_cache_timeout": 0, "allow_override": False,
        },
        keys={
            "organization": ORGANIZATION, "credential": Key("credentials"), "default_environment": ENVIRONMENT,
            "signature_validation_credential": Key("credentials"),
        },
        lists=NOTIFICATIONS, unique=("name", "organization"), soft=True,
        choices={"scm_type": ("git", "svn", "insights", "archive")}, shown={"scm_revision": "", **UPDATE_STATUS},
        actions=("playbooks", "update"),
    ),
    "inventories": Resource(
        "Inventory",
        {**DESCRIBED, "kind": "", "host_filter": None, "variables": "", "prevent_instance_group_fallback": False},
        keys={"organization": OWNER}, summarized=("labels",),
        lists={"labels": "labels", **GROUPS}, required=("name", "organization"), unique=("name", "organization"),
        choices={"kind": ("smart", "constructed")}, shown={"pending_deletion": False},
    ),
    "hosts": Resource(
        "Host", {**DESCRIBED, "enabled": True, "instance_id": "", "variables": ""},
        keys={"inventory": Key("inventories", cascade=True, fixed=True)},
        required=("name", "inventory"), unique=("name", "inventory"),
    ),
    "groups": Resource(
        "Group", {**DESCRIBED, "variables": ""},
        keys={"inventory": Key("inventories", cascade=True, fixed=True)},
        lists={"hosts": "hosts", "children": "groups"},
        required=("name", "inventory"), unique=("name", "inventory"),
    ),
    "inventory_sources": Resource(
        "InventorySource",
        {
            **DESCRIBED, "source": "", "source_path": "", "source_vars": "", "scm_branch": "", "enabled_var": "",
            "enabled_value": "", "host_filter": "", "overwrite": False, "overwrite_vars": False, "timeout": 0,
            "verbosity": 1, "limit": "", "update_on_launch": False, "update_cache_timeout": 0,
        },
        keys={
            "inventory": Key("inventories", cascade=True, fixed=True), "credential": Key("credentials"),
            "source_project": Key("projects", cascade=True), "execution_environment": ENVIRONMENT,
            "organization": Key("organizations", inferred=True, hidden=True),
        },
        lists=NOTIFICATIONS, required=("name", "inventory"), unique=("name", "inventory"), soft=True,
        choices={
            "source": (
                "scm", "file", "ec2", "gce", "azure_rm", "vmware", "satellite6", "openstack", "rhv", "controller",
                "insights", "terraform", "openshift_virtualization", "constructed",
            ),
            "verbosity": (0, 1, 2),
        },
        shown=UPDATE_STATUS, actions=("update",),
    ),
    "notification_templates": Resource(
        "NotificationTemplate",
        {
            **DESCRIBED, "notification_type": "", "notification_configuration": {},
            "messages": DEFAULT_MESSAGES,
        },
        keys={"organization": OWNER},
        required=("name", "organization", "notification_type"), unique=("organization", "name"),
    ),
    "labels": Resource(
        "Label", {"name": ""}, keys={"organization": OWNER},
        required=("name", "organization"), unique=("name", "organization"),
    ),
    "job_templates": Resource(
        "JobTemplate",
        {
            **DESCRIBED, "job_type": "run", "playbook": "", "scm_branch": "", "forks": 0, "limit": "", "verbosity": 0,
            "extra_vars": "", "job_tags": "", "force_handlers": False, "skip_tags": "", "start_at_task": "",
            "timeout": 0, "use_fact_cache": False, "host_config_key": "", **dict.fromkeys(ASKS.values(), False),
            "survey_enabled": False, "become_enabled": False, "diff_mode": False, "allow_simultaneous": False,
            "job_slice_count": 1, "webhook_service": "", "prevent_instance_group_fallback": False,
        },
        keys={
            "inventory": Key("inventories"), "project": Key("projects"),
            "organization": Key("organizations", inferred=True), "execution_environment": ENVIRONMENT,
            "webhook_credential": Key("credentials"),
        },
        lists={"credentials": "credentials", "labels": "labels", **NOTIFICATIONS, **GROUPS},
        unique=("name", "organization"), soft=True,
        choices={
            "job_type": ("run", "check"), "verbosity": VERBOSITIES,
            "webhook_service": ("github", "gitlab", "bitbucket_dc"),
        },
        shown={**JOB_STATUS, "custom_virtualenv": None}, summarized=("credentials", "labels"),
        actions=("survey_spec",),
    ),
    "workflow_job_templates": Resource(
        "WorkflowJobTemplate",
        {
            **DESCRIBED, "extra_vars": "", "survey_enabled": False, "allow_simultaneous": False, "limit": None,
            "scm_branch": None, "skip_tags": None, "job_tags": None, "webhook_service": "",
            **{
                ASKS[name]: False
                for name in ("extra_vars", "inventory", "scm_branch", "limit", "labels", "skip_tags", "job_tags")
            },
        },
        keys={
            "organization": ORGANIZATION, "inventory": Key("inventories"), "webhook_credential": Key("credentials"),
        },
        lists={"labels": "labels", **NOTIFICATIONS, **APPROVALS}, unique=("name", "organization"), soft=True,
        choices={"webhook_service": ("github", "gitlab", "bitbucket_dc")}, shown=JOB_STATUS, summarized=("labels",),
        actions=("survey_spec",),
    ),
    "workflow_job_template_nodes": Resource(
        "WorkflowJobTemplateNode", {**LAUNCH, "all_parents_must_converge": False, "identifier": ""},
        keys={
            **LAUNCH_KEYS, "workflow_job_template": Key("workflow_job_templates", cascade=True, fixed=True),
            "unified_job_template": Key("templates_of_nodes"),
        },
        lists={**LAUNCH_LISTS, **NODES}, listed=tuple(NODES), required=("workflow_job_template",),
        unique=("identifier", "workflow_job_template"), choices=LAUNCH_CHOICES, identity="identifier",
        actions=("create_approval_template",),
    ),
    "workflow_approval_templates": Resource(
        "WorkflowApprovalTemplate", {**DESCRIBED, "timeout": 0}, unique=(), may_create=False, has_named_url=False,
        shown={**JOB_STATUS, "execution_environment": None},
    ),
    "schedules": Resource(
        "Schedule", {**DESCRIBED, **LAUNCH, "rrule": "", "enabled": True},
        keys={**LAUNCH_KEYS, "unified_job_template": Key("unified_job_templates", cascade=True)},
        lists=LAUNCH_LISTS, required=("name", "rrule", "unified_job_template"),
        unique=("unified_job_template", "name"), choices=LAUNCH_CHOICES, has_named_url=False,
        shown={"dtstart": None, "dtend": None, "next_run": None, "timezone": "UTC", "until": ""},
    ),
    "project_updates": Resource(
        "ProjectUpdate", DESCRIBED, keys={"project": Key("projects", cascade=True)}, unique=(), may_create=False,
        has_named_url=False, shown=JOB,
    ),
    "inventory_updates": Resource(
        "InventoryUpdate", DESCRIBED, keys={"inventory_source": Key("inventory_sources", cascade=True)}, unique=(),
        may_create=False, has_named_url=False, shown=JOB,
    ),
}  # fmt: skip

NOTIFICATION_TYPES: dict[str, dict[str, Any]] = {
    "email": {
        "host": str, "port": int, "username": str, "password": str, "use_tls": bool, "use_ssl": bool,
        "sender": str, "recipients": list, "timeout": 30,
    },
    "slack": {"token": str, "channels": list},
    "twilio": {"account_sid": str, "account_token": str, "from_number": str, "to_numbers": list},
    "pagerduty": {"subdomain": str, "token": str, "service_key": str, "client_name": str},
    "grafana": {"grafana_url": str, "grafana_key": str},
    "webhook": {
        "url": str, "http_method": "POST", "disable_ssl_verification": False, "username": "", "password": "",
        "headers": dict,
    },
    "mattermost": {"mattermost_url": str, "mattermost_no_verify_ssl": bool},
    "rocketchat": {"rocketchat_url": str, "rocketchat_no_verify_ssl": bool},
    "irc": {
        "server": str, "port": int, "nickname": str, "password": str, "use_ssl": bool, "targets": list,
    },
    "awssns": {
        "aws_region": "", "aws_access_key_id": "", "aws_secret_access_key": "", "aws_session_token": "",
        "sns_topic_arn": "",
    },
}  # fmt: skip
"""The fields of a notification template's configuration: the type of a required field, or the default of another."""

NOTIFICATION_SECRETS = {
    "password", "token", "account_token", "grafana_key", "aws_secret_access_key", "aws_session_token",
}  # fmt: skip

_VAULT_LOGIN = (
    "url token* cacert role_id secret_id* client_cert_public client_cert_private* client_cert_role namespace"
    " kubernetes_role username password* default_auth_path"
)
_KEY_LOGIN = "username password* ssh_key_data* ssh_key_unlock*"

CREDENTIAL_TYPES = (
    ("Machine", "ssh", "ssh", f"{_KEY_LOGIN} ssh_public_key_data* become_method become_username become_password*"),
    ("Source Control", "scm", "scm", _KEY_LOGIN),
    ("Vault", "vault", "vault", "vault_password* vault_id"),
    ("Network", "net", "net", f"{_KEY_LOGIN} authorize? authorize_password*"),
    ("Amazon Web Services", "aws", "cloud", "username password* security_token*"),
    ("OpenStack", "openstack", "cloud", "username password* host project domain region verify_ssl?"),
    ("VMware vCenter", "vmware", "cloud", "host username password*"),
    ("Google Compute Engine", "gce", "cloud", "username project ssh_key_data*"),
    ("GitHub Personal Access Token", "github_token", "token", "token*"),
    ("GitLab Personal Access Token", "gitlab_token", "token", "token*"),
    (
        "Red Hat Ansible Automation Platform", "controller", "cloud",
        "host username password* oauth_token* verify_ssl?",
    ),
    (
        "OpenShift or Kubernetes API Bearer Token", "kubernetes_bearer_token", "kubernetes",
        "host bearer_token* verify_ssl? ssl_ca_cert*",
    ),
    ("Container Registry", "registry", "registry", "host username password* verify_ssl?"),
    ("Ansible Galaxy/Automation Hub API Token", "galaxy_api_token", "galaxy", "url auth_url token*"),
    ("GPG Public Key", "gpg_public_key", "cryptography", "gpg_public_key*"),
    ("HashiCorp Vault Secret Lookup", "hashivault_kv", "external", f"{_VAULT_LOGIN} api_version"),
    ("HashiCorp Vault Signed SSH", "hashivault_ssh", "external", _VAULT_LOGIN),
    ("Microsoft Azure Key Vault", "azure_kv", "external", "url client secret* tenant cloud_name"),
    (
        "CyberArk Conjur Secrets Manager Lookup", "conjur", "external", "url api_key* account username cacert",
    ),
)  # fmt: skip
"""The managed credential types: name, namespace, kind and inputs. `*` is after a secret and `?` after a boolean."""


def managed_type_inputs(inputs: str) -> dict[str, Any]:
    """The `inputs` of a managed credential type."""
    fields = []
    for text in inputs.split():
        name = text.rstrip("*?")
        kind: dict[str, Any] = {"type": "boolean"} if text.endswith("?") else {"type": "string"}
        fields.append({"id": name, "label": name, **kind, **({"secret": True} if text.endswith("*") else {})})
    return {"fields": fields}


UPDATES = {
    "projects": ("project_updates", "project"),
    "inventory_sources": ("inventory_updates", "inventory_source"),
}
"""For a resource that can be updated, the resource of the updates, and its key."""

JOB_TYPES = {"projects": "project_update", "inventory_sources": "inventory_update"}
SECRET_FIELDS = {"credentials": "inputs", "notification_templates": "notification_configuration"}
"""The field that contains the secrets."""

ENCRYPTED = "$encrypted$"
"""What AWX shows in place of a secret."""
