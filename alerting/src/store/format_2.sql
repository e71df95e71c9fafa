-- Format 2: every kind of incident, its life, and planned work.
ALTER TABLE incident ADD COLUMN p1_at INTEGER;
-- Before there were others, an incident was a P1 since its opening.
UPDATE incident SET p1_at = opened_at WHERE severity = 'P1';
ALTER TABLE incident ADD COLUMN place TEXT NOT NULL DEFAULT '';        -- what a person said, a part of the system
ALTER TABLE incident ADD COLUMN members TEXT NOT NULL DEFAULT '[]';    -- JSON list of posts
ALTER TABLE incident ADD COLUMN links TEXT NOT NULL DEFAULT '[]';      -- JSON list of incidents
ALTER TABLE memory ADD COLUMN habits TEXT NOT NULL DEFAULT '';         -- JSON: medians and wet peaks
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
