-- Format 2: the life of an incident, and planned work.
-- life: JSON, see life/mod.rs; a field that is missing there has its default, so '{}' is an open incident.
ALTER TABLE incident ADD COLUMN life TEXT NOT NULL DEFAULT '{}';
ALTER TABLE incident ADD COLUMN ended_at INTEGER;      -- closed, void or merged: life.over_through
CREATE INDEX incident_live ON incident (due_at, id) WHERE ended_at IS NULL;
CREATE INDEX incident_ended ON incident (post_id, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX outbox_by_incident ON outbox (incident);

CREATE TABLE maintenance (
    id         TEXT PRIMARY KEY,
    until      INTEGER NOT NULL,
    ended      INTEGER NOT NULL,            -- 1: over
    job        TEXT NOT NULL                -- JSON
) STRICT;

-- A fault that came with rain is looked at again in the next rain.
CREATE TABLE recheck (
    post_id    TEXT PRIMARY KEY,
    done       INTEGER NOT NULL,            -- 1: a hand test was made
    task       TEXT NOT NULL                -- JSON
) STRICT;
