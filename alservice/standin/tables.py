"""The database of the stand-in: every index here keeps a request from growing with the table it reads."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  login TEXT NOT NULL UNIQUE COLLATE NOCASE,
  password TEXT NOT NULL,
  uploaded INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL);

CREATE TABLE applications (
  uid TEXT PRIMARY KEY,
  secret TEXT,
  owner_id INTEGER REFERENCES users (id),
  grants TEXT NOT NULL,
  scopes TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sessions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token TEXT NOT NULL UNIQUE,
  user_id INTEGER REFERENCES users (id),
  created_at TEXT NOT NULL);

CREATE TABLE access_tokens (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token TEXT NOT NULL UNIQUE,
  refresh_token TEXT UNIQUE,
  previous_refresh_token TEXT,
  application TEXT NOT NULL REFERENCES applications (uid),
  user_id INTEGER NOT NULL REFERENCES users (id),
  scopes TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT,
  created_at TEXT NOT NULL);

CREATE TABLE projects (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  owner_id INTEGER NOT NULL REFERENCES users (id),
  display_name TEXT NOT NULL,
  slug TEXT NOT NULL UNIQUE,
  live INTEGER NOT NULL,
  active_subjects INTEGER NOT NULL DEFAULT 0,
  classifications_count INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0);
CREATE INDEX projects_owner ON projects (owner_id);

CREATE TABLE workflows (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project_id INTEGER NOT NULL REFERENCES projects (id),
  display_name TEXT NOT NULL,
  attributes TEXT NOT NULL,
  major INTEGER NOT NULL, minor INTEGER NOT NULL,
  active INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  retired_count INTEGER NOT NULL DEFAULT 0,
  classifications_count INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0);
CREATE INDEX workflows_project ON workflows (project_id, deleted, id);

CREATE TABLE workflow_versions (
  workflow_id INTEGER NOT NULL REFERENCES workflows (id),
  major INTEGER NOT NULL, minor INTEGER NOT NULL,
  display_name TEXT NOT NULL, active INTEGER NOT NULL,
  attributes TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (workflow_id, major, minor)) WITHOUT ROWID;

CREATE TABLE workflow_subject_sets (
  workflow_id INTEGER NOT NULL REFERENCES workflows (id),
  subject_set_id INTEGER NOT NULL REFERENCES subject_sets (id),
  PRIMARY KEY (workflow_id, subject_set_id)) WITHOUT ROWID;
CREATE INDEX workflow_subject_sets_set ON workflow_subject_sets (subject_set_id);

CREATE TABLE subject_sets (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project_id INTEGER NOT NULL REFERENCES projects (id),
  display_name TEXT NOT NULL,
  metadata TEXT NOT NULL,
  members INTEGER NOT NULL DEFAULT 0,
  active_members INTEGER NOT NULL DEFAULT 0,
  counted_members INTEGER NOT NULL DEFAULT 0,
  lock_version INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0,
  UNIQUE (project_id, display_name));

CREATE TABLE subjects (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project_id INTEGER NOT NULL REFERENCES projects (id),
  uploader_id INTEGER NOT NULL REFERENCES users (id),
  metadata TEXT NOT NULL,
  locations TEXT NOT NULL,
  external_id TEXT,
  active INTEGER NOT NULL DEFAULT 1,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0);
CREATE INDEX subjects_project ON subjects (project_id, active, id);

CREATE TABLE set_member_subjects (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  subject_set_id INTEGER NOT NULL REFERENCES subject_sets (id),
  subject_id INTEGER NOT NULL REFERENCES subjects (id),
  active INTEGER NOT NULL DEFAULT 1,
  priority REAL,
  shuffle INTEGER NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE (subject_id, subject_set_id));
CREATE INDEX members_listing ON set_member_subjects (subject_set_id, id);
CREATE INDEX members_subjects ON set_member_subjects (subject_set_id, active, subject_id);
CREATE INDEX members_shuffle ON set_member_subjects (subject_set_id, active, shuffle, subject_id);
CREATE INDEX members_priority ON set_member_subjects (subject_set_id, active, priority, subject_id);

CREATE TABLE subject_workflow_statuses (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  workflow_id INTEGER NOT NULL REFERENCES workflows (id),
  subject_id INTEGER NOT NULL REFERENCES subjects (id),
  classifications_count INTEGER NOT NULL DEFAULT 0,
  retired_at TEXT,
  retirement_reason TEXT,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE (subject_id, workflow_id));
CREATE INDEX statuses_listing ON subject_workflow_statuses (workflow_id, id);

CREATE TABLE classifications (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project_id INTEGER NOT NULL REFERENCES projects (id),
  workflow_id INTEGER NOT NULL REFERENCES workflows (id),
  user_id INTEGER REFERENCES users (id),
  user_ip TEXT NOT NULL,
  completed INTEGER NOT NULL,
  gold_standard INTEGER,
  expert TEXT,
  workflow_version TEXT NOT NULL,
  metadata TEXT NOT NULL,
  annotations TEXT NOT NULL,
  subject_ids TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX classifications_project ON classifications (project_id, id);
CREATE INDEX classifications_workflow ON classifications (workflow_id, id);
CREATE INDEX classifications_user ON classifications (user_id, completed, id);
CREATE INDEX classifications_gold ON classifications (workflow_id, id) WHERE gold_standard;

CREATE TABLE classification_subjects (
  subject_id INTEGER NOT NULL REFERENCES subjects (id),
  classification_id INTEGER NOT NULL REFERENCES classifications (id),
  PRIMARY KEY (subject_id, classification_id)) WITHOUT ROWID;

CREATE TABLE seen_subjects (
  user_id INTEGER NOT NULL REFERENCES users (id),
  workflow_id INTEGER NOT NULL REFERENCES workflows (id),
  subject_id INTEGER NOT NULL REFERENCES subjects (id),
  PRIMARY KEY (user_id, workflow_id, subject_id)) WITHOUT ROWID;

CREATE TABLE media (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  resource TEXT NOT NULL,
  resource_id INTEGER NOT NULL,
  export TEXT NOT NULL,
  content_type TEXT NOT NULL,
  path TEXT NOT NULL,
  metadata TEXT NOT NULL,
  dumped_at TEXT,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE (resource, resource_id, export));

CREATE TABLE blobs (
  path TEXT PRIMARY KEY,
  content_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  md5 TEXT NOT NULL,
  created_at TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  due_at TEXT NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL);
CREATE INDEX jobs_due ON jobs (due_at, id);
"""

SCHEMA_VERSION = 1
