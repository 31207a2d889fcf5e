"""The first schema: projects, tasks, agents and everything that is stored of what they do."""

# ruff: noqa: E501

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE projects (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    description TEXT,
    config TEXT DEFAULT '{"worktree_root":".worktrees","env_file":null,"copy_files":[],"install_command":null,"init_script":null,"allowed_tools":["Read","Write","Edit","MultiEdit","Bash","BashOutput","KillShell","Glob","Grep","TodoWrite","AskUser","Task"],"max_turns":null,"model":null,"policy":"balanced","network":"none","hosts":[],"rules":[],"unconfined":false,"pool_size":1,"run_budget":{"usd":null,"tokens":null},"task_budget":{"usd":null,"tokens":null},"project_budget":{"usd":null,"tokens":null},"checks":[],"filters":[]}' NOT NULL,
    max_concurrent_agents INTEGER DEFAULT 3 NOT NULL,
    github_owner TEXT,
    github_repo TEXT,
    github_installation_id TEXT,
    config_path TEXT DEFAULT '.claude',
    base_branch TEXT DEFAULT 'main' NOT NULL,
    trusted_hash TEXT,
    trust_pending TEXT DEFAULT '[]' NOT NULL,
    trust_digest TEXT,
    always_allowed TEXT DEFAULT '[]' NOT NULL,
    recorded BOOLEAN DEFAULT 0 NOT NULL,
    archived_at INTEGER,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_projects PRIMARY KEY (id),
    CONSTRAINT ck_projects_max_concurrent_agents CHECK (max_concurrent_agents BETWEEN 1 AND 10),
    CONSTRAINT uq_projects_path UNIQUE (path),
    CONSTRAINT ck_projects_recorded CHECK (recorded IN (0, 1))
)
""",
    """
CREATE TABLE agents (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    type VARCHAR(32) DEFAULT 'task' NOT NULL,
    status VARCHAR(32) DEFAULT 'idle' NOT NULL,
    config TEXT DEFAULT '{"model":null,"allowed_tools":null,"max_turns":null,"system_prompt":null,"command":null,"preset":null,"plan":false,"policy":null,"rules":[],"budget":{"usd":null,"tokens":null}}' NOT NULL,
    current_task_id TEXT,
    current_session_id TEXT,
    current_worktree_id TEXT,
    total_tasks INTEGER DEFAULT 0 NOT NULL,
    completed_tasks INTEGER DEFAULT 0 NOT NULL,
    failed_tasks INTEGER DEFAULT 0 NOT NULL,
    last_error TEXT,
    last_error_at INTEGER,
    backend VARCHAR(32) DEFAULT 'anthropic' NOT NULL,
    is_default BOOLEAN DEFAULT 0 NOT NULL,
    source TEXT,
    archived_at INTEGER,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_agents PRIMARY KEY (id),
    CONSTRAINT fk_agents_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT ck_agents_type CHECK (type IN ('task', 'conversational', 'background')),
    CONSTRAINT ck_agents_status CHECK (status IN ('idle', 'starting', 'running', 'paused', 'error', 'completed')),
    CONSTRAINT ck_agents_backend CHECK (backend IN ('anthropic', 'claude-code', 'acp', 'command', 'recorded')),
    CONSTRAINT ck_agents_is_default CHECK (is_default IN (0, 1))
)
""",
    """
CREATE TABLE tasks (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    title TEXT NOT NULL,
    description TEXT,
    "column" VARCHAR(32) DEFAULT 'backlog' NOT NULL,
    position INTEGER DEFAULT 0 NOT NULL,
    branch TEXT,
    worktree_id TEXT,
    diff_summary TEXT,
    files_changed INTEGER,
    lines_added INTEGER,
    lines_removed INTEGER,
    approved_at INTEGER,
    approved_by TEXT,
    rejection_reason TEXT,
    rejection_count INTEGER DEFAULT 0 NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    turn_count INTEGER DEFAULT 0 NOT NULL,
    labels TEXT DEFAULT '[]' NOT NULL,
    metadata TEXT DEFAULT '{}' NOT NULL,
    base_branch TEXT,
    base_sha TEXT,
    snapshot TEXT,
    merge_commit TEXT,
    code TEXT,
    conflicts TEXT DEFAULT '[]' NOT NULL,
    overlaps TEXT DEFAULT '[]' NOT NULL,
    todos TEXT DEFAULT '[]' NOT NULL,
    archived_at INTEGER,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_tasks PRIMARY KEY (id),
    CONSTRAINT ck_tasks_position CHECK (position >= 0),
    CONSTRAINT fk_tasks_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT ck_tasks_column CHECK ("column" IN ('backlog', 'in_progress', 'waiting_approval', 'verified'))
)
""",
    """
CREATE TABLE agent_runs (
    id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    task_id TEXT,
    project_id TEXT NOT NULL,
    session_id TEXT,
    status VARCHAR(32) DEFAULT 'queued' NOT NULL,
    prompt TEXT NOT NULL,
    result TEXT,
    turn_count INTEGER DEFAULT 0 NOT NULL,
    token_input_count INTEGER DEFAULT 0 NOT NULL,
    token_output_count INTEGER DEFAULT 0 NOT NULL,
    cache_read_count INTEGER DEFAULT 0 NOT NULL,
    cache_write_count INTEGER DEFAULT 0 NOT NULL,
    tool_calls TEXT DEFAULT '[]' NOT NULL,
    error TEXT,
    error_type TEXT,
    error_hint TEXT,
    started_at INTEGER,
    completed_at INTEGER,
    duration INTEGER,
    rested_ms INTEGER DEFAULT 0 NOT NULL,
    number INTEGER NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    turn_limit INTEGER DEFAULT 50 NOT NULL,
    cost_usd FLOAT,
    pause_reason VARCHAR(32),
    policy VARCHAR(32),
    sandbox_tier TEXT,
    queued_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    paused_at INTEGER,
    parent_run_id TEXT,
    root_run_id TEXT,
    ancestors TEXT DEFAULT '[]' NOT NULL,
    depth INTEGER DEFAULT 0 NOT NULL,
    call_id TEXT,
    backend_session TEXT,
    plan BOOLEAN DEFAULT 0 NOT NULL,
    budget_usd FLOAT,
    budget_tokens INTEGER,
    context_used INTEGER,
    context_window INTEGER,
    unpriced_accepted BOOLEAN DEFAULT 0 NOT NULL,
    CONSTRAINT pk_agent_runs PRIMARY KEY (id),
    CONSTRAINT ck_agent_runs_turn_limit CHECK (turn_limit > 0),
    CONSTRAINT fk_agent_runs_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id) ON DELETE CASCADE,
    CONSTRAINT fk_agent_runs_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE SET NULL,
    CONSTRAINT fk_agent_runs_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT ck_agent_runs_status CHECK (status IN ('queued', 'starting', 'running', 'paused', 'completed', 'error', 'cancelled', 'interrupted')),
    CONSTRAINT ck_agent_runs_pause_reason CHECK (pause_reason IN ('approval', 'turn_limit', 'key', 'spend_limit', 'person', 'question', 'plan', 'budget')),
    CONSTRAINT ck_agent_runs_policy CHECK (policy IN ('careful', 'balanced', 'free', 'read_only')),
    CONSTRAINT fk_agent_runs_parent_run_id FOREIGN KEY(parent_run_id) REFERENCES agent_runs (id) ON DELETE CASCADE,
    CONSTRAINT ck_agent_runs_plan CHECK (plan IN (0, 1)),
    CONSTRAINT ck_agent_runs_unpriced_accepted CHECK (unpriced_accepted IN (0, 1))
)
""",
    """
CREATE TABLE model_calls (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    agent_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    turn INTEGER NOT NULL,
    model TEXT NOT NULL,
    input_tokens INTEGER DEFAULT 0 NOT NULL,
    output_tokens INTEGER DEFAULT 0 NOT NULL,
    cache_read_tokens INTEGER DEFAULT 0 NOT NULL,
    cache_write_tokens INTEGER DEFAULT 0 NOT NULL,
    cost_usd FLOAT,
    latency_ms INTEGER DEFAULT 0 NOT NULL,
    stop_reason TEXT,
    request_id TEXT,
    at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_model_calls PRIMARY KEY (id),
    CONSTRAINT fk_model_calls_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT fk_model_calls_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE SET NULL,
    CONSTRAINT fk_model_calls_run_id FOREIGN KEY(run_id) REFERENCES agent_runs (id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE approvals (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    input TEXT NOT NULL,
    summary TEXT NOT NULL,
    state VARCHAR(32) DEFAULT 'pending' NOT NULL,
    message TEXT,
    requested_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    rules TEXT DEFAULT '[]' NOT NULL,
    detail TEXT DEFAULT '' NOT NULL,
    edited TEXT,
    CONSTRAINT pk_approvals PRIMARY KEY (id),
    CONSTRAINT fk_approvals_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT fk_approvals_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT fk_approvals_run_id FOREIGN KEY(run_id) REFERENCES agent_runs (id) ON DELETE CASCADE,
    CONSTRAINT ck_approvals_state CHECK (state IN ('pending', 'allowed', 'denied', 'withdrawn'))
)
""",
    """
CREATE TABLE sessions (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    agent_id TEXT,
    title TEXT,
    url TEXT NOT NULL,
    is_active BOOLEAN DEFAULT 1 NOT NULL,
    active_users TEXT DEFAULT '[]' NOT NULL,
    message_count INTEGER DEFAULT 0 NOT NULL,
    tool_call_count INTEGER DEFAULT 0 NOT NULL,
    last_seq INTEGER DEFAULT 0 NOT NULL,
    closed_at INTEGER,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT fk_sessions_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE SET NULL,
    CONSTRAINT fk_sessions_agent_id FOREIGN KEY(agent_id) REFERENCES agents (id) ON DELETE SET NULL,
    CONSTRAINT uq_sessions_url UNIQUE (url),
    CONSTRAINT ck_sessions_is_active CHECK (is_active IN (0, 1))
)
""",
    """
CREATE TABLE session_events (
    session_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    turn INTEGER DEFAULT 0 NOT NULL,
    run_id TEXT,
    data TEXT NOT NULL,
    CONSTRAINT pk_session_events PRIMARY KEY (session_id, seq),
    CONSTRAINT ck_session_events_seq CHECK (seq > 0),
    CONSTRAINT fk_session_events_session_id FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    CONSTRAINT ck_session_events_kind CHECK (kind IN ('text', 'thinking', 'tool_call', 'tool_result', 'approval_requested', 'approval_decided', 'question', 'answer', 'user_message', 'turn_started', 'turn_finished', 'usage', 'retry', 'state', 'worktree', 'snapshot', 'terminal_output', 'error'))
)
""",
    """
CREATE TABLE worktrees (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    branch TEXT NOT NULL,
    base_branch TEXT DEFAULT 'main' NOT NULL,
    base_sha TEXT,
    path TEXT NOT NULL,
    git_dir TEXT,
    status VARCHAR(32) DEFAULT 'creating' NOT NULL,
    env_copied BOOLEAN DEFAULT 0 NOT NULL,
    deps_installed BOOLEAN DEFAULT 0 NOT NULL,
    init_script_run BOOLEAN DEFAULT 0 NOT NULL,
    copied TEXT DEFAULT '[]' NOT NULL,
    last_error TEXT,
    merged_at INTEGER,
    removed_at INTEGER,
    merging TEXT,
    restored_from TEXT DEFAULT '' NOT NULL,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_worktrees PRIMARY KEY (id),
    CONSTRAINT fk_worktrees_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT fk_worktrees_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE SET NULL,
    CONSTRAINT ck_worktrees_status CHECK (status IN ('creating', 'pooled', 'active', 'away', 'merging', 'removing', 'removed', 'error')),
    CONSTRAINT ck_worktrees_env_copied CHECK (env_copied IN (0, 1)),
    CONSTRAINT ck_worktrees_deps_installed CHECK (deps_installed IN (0, 1)),
    CONSTRAINT ck_worktrees_init_script_run CHECK (init_script_run IN (0, 1))
)
""",
    """
CREATE TABLE reviews (
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    verdict VARCHAR(32) NOT NULL,
    reason TEXT,
    reviewer TEXT,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_reviews PRIMARY KEY (id),
    CONSTRAINT fk_reviews_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT ck_reviews_verdict CHECK (verdict IN ('approved', 'rejected'))
)
""",
    """
CREATE TABLE review_comments (
    id TEXT NOT NULL,
    review_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    path BLOB NOT NULL,
    line INTEGER,
    old_side BOOLEAN DEFAULT 0 NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_review_comments PRIMARY KEY (id),
    CONSTRAINT fk_review_comments_review_id FOREIGN KEY(review_id) REFERENCES reviews (id) ON DELETE CASCADE,
    CONSTRAINT fk_review_comments_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT ck_review_comments_old_side CHECK (old_side IN (0, 1))
)
""",
    """
CREATE TABLE merges (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    strategy VARCHAR(32) NOT NULL,
    target_ref TEXT NOT NULL,
    old_sha TEXT NOT NULL,
    new_sha TEXT NOT NULL,
    reviewed_sha TEXT NOT NULL,
    checkout_path TEXT,
    approved_by TEXT,
    kind VARCHAR(32) DEFAULT 'merge' NOT NULL,
    state VARCHAR(32) DEFAULT 'intent' NOT NULL,
    started_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    finished_at INTEGER,
    CONSTRAINT pk_merges PRIMARY KEY (id),
    CONSTRAINT fk_merges_project_id FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT fk_merges_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE SET NULL,
    CONSTRAINT ck_merges_strategy CHECK (strategy IN ('merge', 'squash', 'ff')),
    CONSTRAINT ck_merges_kind CHECK (kind IN ('merge', 'undo')),
    CONSTRAINT ck_merges_state CHECK (state IN ('intent', 'done', 'rolled_back', 'needs_person'))
)
""",
    """
CREATE TABLE checks (
    task_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    required BOOLEAN NOT NULL,
    snapshot TEXT NOT NULL,
    tree TEXT NOT NULL,
    digest TEXT NOT NULL,
    state VARCHAR(32) DEFAULT 'pending' NOT NULL,
    exit_code INTEGER,
    seconds FLOAT,
    output TEXT DEFAULT '' NOT NULL,
    finished_at INTEGER,
    CONSTRAINT pk_checks PRIMARY KEY (task_id, ordinal),
    CONSTRAINT fk_checks_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    CONSTRAINT ck_checks_required CHECK (required IN (0, 1)),
    CONSTRAINT ck_checks_state CHECK (state IN ('pending', 'running', 'passed', 'failed', 'timed_out', 'not_run'))
)
""",
    """
CREATE TABLE recoveries (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    task_id TEXT,
    ref TEXT NOT NULL,
    sha TEXT NOT NULL,
    reason TEXT NOT NULL,
    size_bytes INTEGER DEFAULT 0 NOT NULL,
    files INTEGER DEFAULT 0 NOT NULL,
    title TEXT DEFAULT '' NOT NULL,
    project TEXT DEFAULT '' NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT NOT NULL,
    base_branch TEXT NOT NULL,
    base_sha TEXT,
    parent TEXT NOT NULL,
    copied TEXT DEFAULT '[]' NOT NULL,
    beside TEXT DEFAULT '{}' NOT NULL,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    expires_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    noticed_at INTEGER,
    CONSTRAINT pk_recoveries PRIMARY KEY (id)
)
""",
    """
CREATE TABLE turn_snapshots (
    run_id TEXT NOT NULL,
    turn INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    sha TEXT NOT NULL,
    tree TEXT NOT NULL,
    files INTEGER NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    left_out TEXT DEFAULT '[]' NOT NULL,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_turn_snapshots PRIMARY KEY (run_id, turn)
)
""",
    """
CREATE TABLE audit_logs (
    id TEXT NOT NULL,
    agent_id TEXT,
    agent_run_id TEXT,
    task_id TEXT,
    project_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    status VARCHAR(32) DEFAULT 'pending' NOT NULL,
    input TEXT NOT NULL,
    output TEXT,
    error TEXT,
    duration INTEGER,
    turn_number INTEGER NOT NULL,
    timestamp INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    number INTEGER NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    actor TEXT NOT NULL,
    CONSTRAINT pk_audit_logs PRIMARY KEY (id),
    CONSTRAINT ck_audit_logs_number CHECK (number > 0),
    CONSTRAINT ck_audit_logs_status CHECK (status IN ('pending', 'running', 'complete', 'error'))
)
""",
    """
CREATE TABLE audit_heads (
    project_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash TEXT NOT NULL,
    sealed_number INTEGER DEFAULT 0 NOT NULL,
    sealed_hash TEXT DEFAULT '0000000000000000000000000000000000000000000000000000000000000000' NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_audit_heads PRIMARY KEY (project_id)
)
""",
    """
CREATE TABLE settings (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_settings PRIMARY KEY ("key")
)
""",
    """
CREATE TABLE github_installations (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    account_login TEXT NOT NULL,
    account_type TEXT NOT NULL,
    account_avatar_url TEXT,
    status VARCHAR(32) DEFAULT 'active' NOT NULL,
    permissions TEXT DEFAULT '{}' NOT NULL,
    repository_selection TEXT,
    installed_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    suspended_at INTEGER,
    CONSTRAINT pk_github_installations PRIMARY KEY (id),
    CONSTRAINT ck_github_installations_status CHECK (status IN ('active', 'suspended', 'deleted'))
)
""",
    """
CREATE TABLE repository_configs (
    id TEXT NOT NULL,
    installation_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    repo TEXT NOT NULL,
    full_name TEXT NOT NULL,
    config_path TEXT DEFAULT '.claude' NOT NULL,
    config_sha TEXT,
    config TEXT DEFAULT '{}' NOT NULL,
    last_synced_at INTEGER,
    sync_error TEXT,
    default_branch TEXT DEFAULT 'main',
    is_private BOOLEAN DEFAULT 0 NOT NULL,
    created_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    updated_at INTEGER DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) NOT NULL,
    CONSTRAINT pk_repository_configs PRIMARY KEY (id),
    CONSTRAINT fk_repository_configs_installation_id FOREIGN KEY(installation_id) REFERENCES github_installations (id) ON DELETE CASCADE,
    CONSTRAINT ck_repository_configs_is_private CHECK (is_private IN (0, 1))
)
""",
)

INDEXES = (
    "CREATE INDEX projects_github_idx ON projects (github_owner, github_repo)",
    "CREATE INDEX projects_path_idx ON projects (path)",
    "CREATE INDEX projects_updated_at_idx ON projects (updated_at)",
    "CREATE INDEX agents_current_task_idx ON agents (current_task_id)",
    "CREATE UNIQUE INDEX agents_default_idx ON agents (project_id) WHERE is_default = 1",
    "CREATE UNIQUE INDEX agents_name_idx ON agents (project_id, name) WHERE archived_at IS NULL",
    "CREATE INDEX agents_project_idx ON agents (project_id)",
    "CREATE INDEX agents_status_idx ON agents (project_id, status)",
    "CREATE INDEX tasks_agent_idx ON tasks (agent_id)",
    "CREATE INDEX tasks_branch_idx ON tasks (branch)",
    "CREATE INDEX tasks_overlaps_idx ON tasks (id) WHERE overlaps != '[]'",
    'CREATE INDEX tasks_column_idx ON tasks (project_id, "column")',
    'CREATE INDEX tasks_position_idx ON tasks (project_id, "column", position)',
    "CREATE INDEX tasks_project_idx ON tasks (project_id)",
    "CREATE INDEX agent_runs_agent_idx ON agent_runs (agent_id)",
    "CREATE UNIQUE INDEX agent_runs_live_idx ON agent_runs (task_id) WHERE depth = 0 AND status IN ('queued', 'starting', 'running', 'paused')",
    "CREATE INDEX agent_runs_newest_idx ON agent_runs (task_id, number)",
    "CREATE UNIQUE INDEX agent_runs_number_idx ON agent_runs (number)",
    "CREATE INDEX agent_runs_parent_idx ON agent_runs (parent_run_id, call_id)",
    "CREATE INDEX agent_runs_project_idx ON agent_runs (project_id)",
    "CREATE INDEX agent_runs_started_at_idx ON agent_runs (started_at)",
    "CREATE INDEX agent_runs_status_idx ON agent_runs (status)",
    "CREATE INDEX agent_runs_tally_idx ON agent_runs (agent_id, status, task_id, number)",
    "CREATE INDEX agent_runs_task_idx ON agent_runs (task_id)",
    "CREATE INDEX model_calls_at_idx ON model_calls (at)",
    "CREATE INDEX model_calls_project_idx ON model_calls (project_id, at)",
    "CREATE INDEX model_calls_run_idx ON model_calls (run_id)",
    "CREATE INDEX model_calls_task_idx ON model_calls (task_id)",
    "CREATE INDEX approvals_call_idx ON approvals (run_id, call_id)",
    "CREATE INDEX approvals_project_idx ON approvals (project_id)",
    "CREATE INDEX approvals_state_idx ON approvals (state, requested_at)",
    "CREATE INDEX approvals_task_idx ON approvals (task_id, state)",
    "CREATE INDEX sessions_active_idx ON sessions (is_active)",
    "CREATE INDEX sessions_agent_idx ON sessions (agent_id)",
    "CREATE INDEX sessions_project_idx ON sessions (project_id)",
    "CREATE UNIQUE INDEX sessions_task_idx ON sessions (task_id)",
    "CREATE INDEX sessions_url_idx ON sessions (url)",
    "CREATE INDEX worktrees_branch_idx ON worktrees (branch)",
    "CREATE INDEX worktrees_path_idx ON worktrees (path)",
    "CREATE INDEX worktrees_project_idx ON worktrees (project_id)",
    "CREATE INDEX worktrees_status_idx ON worktrees (status)",
    "CREATE INDEX worktrees_task_idx ON worktrees (task_id)",
    "CREATE INDEX reviews_task_idx ON reviews (task_id, created_at)",
    "CREATE INDEX review_comments_review_idx ON review_comments (review_id, ordinal)",
    "CREATE INDEX review_comments_task_idx ON review_comments (task_id)",
    "CREATE INDEX merges_project_idx ON merges (project_id)",
    "CREATE INDEX merges_state_idx ON merges (state)",
    "CREATE INDEX merges_task_idx ON merges (task_id)",
    "CREATE INDEX checks_state_idx ON checks (state)",
    "CREATE INDEX recoveries_expires_idx ON recoveries (expires_at)",
    "CREATE INDEX recoveries_project_idx ON recoveries (project_id, created_at)",
    "CREATE INDEX recoveries_task_idx ON recoveries (task_id)",
    "CREATE INDEX turn_snapshots_task_idx ON turn_snapshots (task_id, created_at)",
    "CREATE INDEX audit_logs_agent_idx ON audit_logs (agent_id)",
    "CREATE INDEX audit_logs_agent_run_idx ON audit_logs (agent_run_id)",
    "CREATE UNIQUE INDEX audit_logs_number_idx ON audit_logs (project_id, number)",
    "CREATE INDEX audit_logs_project_idx ON audit_logs (project_id)",
    "CREATE INDEX audit_logs_task_idx ON audit_logs (task_id)",
    "CREATE INDEX audit_logs_timestamp_idx ON audit_logs (timestamp)",
    "CREATE INDEX audit_logs_tool_idx ON audit_logs (tool)",
    "CREATE INDEX github_installations_account_idx ON github_installations (account_login)",
    "CREATE INDEX repository_configs_full_name_idx ON repository_configs (full_name)",
    "CREATE INDEX repository_configs_installation_idx ON repository_configs (installation_id)",
    "CREATE INDEX repository_configs_owner_repo_idx ON repository_configs (owner, repo)",
)

# An entry of the audit log is never changed, and only what has been sealed may go.
TRIGGERS = (
    """
CREATE TRIGGER audit_logs_immutable BEFORE UPDATE ON audit_logs
BEGIN
    SELECT RAISE(ABORT, 'an audit entry is never changed');
END
""",
    """
CREATE TRIGGER audit_logs_kept BEFORE DELETE ON audit_logs
WHEN OLD.number > coalesce((SELECT sealed_number FROM audit_heads WHERE project_id = OLD.project_id), 0)
BEGIN
    SELECT RAISE(ABORT, 'an audit entry is deleted only after it is sealed');
END
""",
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in (*TABLES, *INDEXES, *TRIGGERS):
        connection.exec_driver_sql(statement)
