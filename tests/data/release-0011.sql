-- A campaign of 40 galaxies in the schema and with the objects (release-0011.zip) of revision 0011, which stored draws.
-- Written by tests/migrations/record_release.py; tests/migrations/test_release.py brings it forward. Never edit: released databases are not.
CREATE FUNCTION public.count_ingest_hours() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    INSERT INTO ingest_totals (campaign_id, source, classifications)
    SELECT campaign_id, source, count(*) FROM arrived GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, source)
        DO UPDATE SET classifications = ingest_totals.classifications + excluded.classifications;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_moved_subjects() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, sum(n)
    FROM (SELECT campaign_id, state, 1 AS n FROM came UNION ALL SELECT campaign_id, state, -1 FROM gone) AS moved
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_new_subjects() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, count(*) FROM came GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$;
CREATE FUNCTION public.keep_subjects() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the upload ledger keeps its rows: % is refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TABLE public.acquired (
    cycle_id bigint NOT NULL,
    "position" integer NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    arm text NOT NULL,
    score_nats double precision,
    inclusion_probability double precision NOT NULL,
    rank integer NOT NULL,
    n_votes integer NOT NULL,
    CONSTRAINT ck_acquired_arm CHECK ((arm = ANY (ARRAY['easy'::text, 'evaluation'::text, 'informative'::text, 'random'::text]))),
    CONSTRAINT ck_acquired_inclusion_probability CHECK (((inclusion_probability >= (0)::double precision) AND (inclusion_probability <= (1)::double precision))),
    CONSTRAINT ck_acquired_n_votes CHECK ((n_votes >= 1)),
    CONSTRAINT ck_acquired_score_nats CHECK (((score_nats IS NOT NULL) = (arm = 'informative'::text)))
);
CREATE TABLE public.acquisitions (
    cycle_id bigint NOT NULL,
    policy jsonb NOT NULL,
    seed bigint NOT NULL,
    offered integer NOT NULL,
    eligible integer NOT NULL,
    eligible_members integer NOT NULL,
    excluded jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_acquisitions_pool CHECK (((offered >= eligible) AND (eligible >= eligible_members)))
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.answered_requests (
    token_id bigint NOT NULL,
    key text NOT NULL,
    request_digest text NOT NULL,
    status integer,
    answer text,
    claimed_at timestamp with time zone NOT NULL
);
CREATE TABLE public.call_totals (
    adapter text NOT NULL,
    call text NOT NULL,
    outcome text NOT NULL,
    calls bigint NOT NULL,
    seconds double precision NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_call_totals_counts CHECK (((calls >= 0) AND (seconds >= (0)::double precision)))
);
CREATE TABLE public.campaign_pauses (
    campaign_id bigint NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE public.campaign_versions (
    campaign_id bigint NOT NULL,
    version integer NOT NULL,
    digest text NOT NULL,
    document jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.campaigns (
    id bigint NOT NULL,
    name text NOT NULL
);
ALTER TABLE public.campaigns ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.campaigns_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.catalogue_faults (
    id bigint NOT NULL,
    catalogue_id bigint NOT NULL,
    "row" integer NOT NULL,
    galaxy_id text COLLATE pg_catalog."C",
    field text NOT NULL,
    reason text NOT NULL
);
ALTER TABLE public.catalogue_faults ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.catalogue_faults_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.catalogues (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    source text NOT NULL,
    digest text NOT NULL,
    n_galaxies integer NOT NULL,
    n_failed integer NOT NULL,
    votes_key text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_catalogues_counts CHECK (((n_galaxies >= 0) AND (n_failed >= 0)))
);
ALTER TABLE public.catalogues ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.catalogues_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.classifications (
    campaign_id bigint NOT NULL,
    classification_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    workflow_version text NOT NULL,
    zooniverse_subject_id bigint,
    user_hash text,
    session text,
    started_at text,
    finished_at text,
    seen_before boolean NOT NULL,
    live_project boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    annotations text NOT NULL,
    galaxy_id text COLLATE pg_catalog."C",
    answers smallint[] NOT NULL,
    abstentions integer NOT NULL,
    fault text,
    verdict text,
    source text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    completed boolean,
    gold_standard boolean NOT NULL,
    after_retirement boolean NOT NULL,
    answers_from text NOT NULL,
    kept text,
    CONSTRAINT ck_classifications_kept CHECK ((kept = ANY (ARRAY['duplicate-send'::text, 'repeat'::text]))),
    CONSTRAINT ck_classifications_verdict CHECK ((verdict = ANY (ARRAY['after-retirement'::text, 'before-launch'::text, 'counted'::text, 'duplicate-send'::text, 'gold-standard'::text, 'incomplete'::text, 'not-live'::text, 'quarantined'::text, 'repeat'::text, 'seen-before'::text, 'too-fast'::text, 'unknown-subject'::text, 'wrong-workflow'::text])))
);
CREATE TABLE public.cycle_runs (
    cycle_id bigint NOT NULL,
    run_id text NOT NULL,
    flow text NOT NULL,
    name text NOT NULL,
    began_at timestamp with time zone NOT NULL
);
CREATE TABLE public.cycle_statistics (
    cycle_id bigint NOT NULL,
    kind text NOT NULL,
    document jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_cycle_statistics_kind CHECK ((kind = ANY (ARRAY['drift'::text, 'selected'::text, 'shadow'::text])))
);
CREATE TABLE public.cycles (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    campaign_version integer NOT NULL,
    catalogue_id bigint NOT NULL,
    number integer NOT NULL,
    state text NOT NULL,
    left_from text,
    champion_id bigint,
    candidate_id bigint,
    deadline timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    kind text NOT NULL,
    CONSTRAINT ck_cycles_kind CHECK ((kind = ANY (ARRAY['full'::text, 'retrain'::text]))),
    CONSTRAINT ck_cycles_left_from CHECK ((left_from = ANY (ARRAY['acquiring'::text, 'collecting'::text, 'evaluating'::text, 'gated'::text, 'held'::text, 'kept'::text, 'planned'::text, 'predicting'::text, 'promoted'::text, 'publishing'::text, 'training'::text]))),
    CONSTRAINT ck_cycles_number CHECK ((number >= 0)),
    CONSTRAINT ck_cycles_resumable CHECK (((left_from IS NULL) = (state = ANY (ARRAY['acquiring'::text, 'collecting'::text, 'done'::text, 'evaluating'::text, 'gated'::text, 'held'::text, 'kept'::text, 'planned'::text, 'predicting'::text, 'promoted'::text, 'publishing'::text, 'training'::text])))),
    CONSTRAINT ck_cycles_state CHECK ((state = ANY (ARRAY['acquiring'::text, 'cancelled'::text, 'collecting'::text, 'done'::text, 'evaluating'::text, 'failed'::text, 'gated'::text, 'held'::text, 'kept'::text, 'planned'::text, 'predicting'::text, 'promoted'::text, 'publishing'::text, 'training'::text])))
);
ALTER TABLE public.cycles ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.cycles_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.evaluations (
    cycle_id bigint NOT NULL,
    model_id bigint NOT NULL,
    metrics jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.events (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    cycle_id bigint,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    kind text NOT NULL,
    detail jsonb NOT NULL
);
ALTER TABLE public.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.exports (
    campaign_id bigint NOT NULL,
    digest text NOT NULL,
    name text NOT NULL,
    n_rows integer NOT NULL,
    newest_id bigint,
    newest_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_exports_counts CHECK ((n_rows >= 0))
);
CREATE TABLE public.galaxies (
    catalogue_id bigint NOT NULL,
    "row" integer NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    ra_deg double precision,
    dec_deg double precision,
    image_key text NOT NULL,
    unbiased boolean NOT NULL,
    evaluation boolean NOT NULL,
    CONSTRAINT ck_galaxies_dec_deg CHECK (((dec_deg >= ('-90'::integer)::double precision) AND (dec_deg <= (90)::double precision))),
    CONSTRAINT ck_galaxies_evaluation CHECK ((unbiased OR (NOT evaluation))),
    CONSTRAINT ck_galaxies_ra_deg CHECK (((ra_deg >= (0)::double precision) AND (ra_deg <= (360)::double precision)))
);
CREATE TABLE public.gate_decisions (
    cycle_id bigint NOT NULL,
    verdict text NOT NULL,
    document jsonb NOT NULL,
    actor text NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_gate_decisions_verdict CHECK ((verdict = ANY (ARRAY['hold'::text, 'promote'::text, 'reject'::text])))
);
CREATE TABLE public.image_shards (
    catalogue_id bigint NOT NULL,
    pack text NOT NULL,
    index integer NOT NULL,
    key text NOT NULL,
    n_galaxies integer NOT NULL,
    n_failed integer NOT NULL,
    CONSTRAINT ck_image_shards_counts CHECK (((index >= 0) AND (n_galaxies >= 0) AND (n_failed >= 0)))
);
CREATE TABLE public.ingest_cursors (
    campaign_id bigint NOT NULL,
    source text NOT NULL,
    last_id bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.ingest_hours (
    campaign_id bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    source text NOT NULL,
    classifications bigint NOT NULL,
    CONSTRAINT ck_ingest_hours_counts CHECK ((classifications >= 0))
);
CREATE TABLE public.ingest_totals (
    campaign_id bigint NOT NULL,
    source text NOT NULL,
    classifications bigint NOT NULL,
    CONSTRAINT ck_ingest_totals_counts CHECK ((classifications >= 0))
);
CREATE TABLE public.leases (
    campaign_id bigint NOT NULL,
    token text NOT NULL,
    actor text NOT NULL,
    place text NOT NULL,
    pid integer NOT NULL,
    started_s double precision NOT NULL,
    acquired_at timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_leases_times CHECK (((acquired_at <= heartbeat_at) AND (heartbeat_at <= expires_at)))
);
CREATE TABLE public.models (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    cycle_id bigint NOT NULL,
    snapshot_id bigint NOT NULL,
    key text NOT NULL,
    digest text NOT NULL,
    state text NOT NULL,
    card jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_models_state CHECK ((state = ANY (ARRAY['candidate'::text, 'champion'::text, 'rejected'::text, 'retired'::text])))
);
ALTER TABLE public.models ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.models_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.posterior_shards (
    model_id bigint NOT NULL,
    catalogue_id bigint NOT NULL,
    scope text NOT NULL,
    index integer NOT NULL,
    key text NOT NULL,
    n_galaxies integer NOT NULL,
    n_failed integer NOT NULL,
    CONSTRAINT ck_posterior_shards_counts CHECK (((index >= 0) AND (n_galaxies >= 0) AND (n_failed >= 0))),
    CONSTRAINT ck_posterior_shards_scope CHECK ((scope = ANY (ARRAY['catalogue'::text, 'evaluation'::text])))
);
CREATE TABLE public.promotions (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    model_id bigint NOT NULL,
    replaced_id bigint,
    kind text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT ck_promotions_kind CHECK ((kind = ANY (ARRAY['gate'::text, 'person'::text, 'rollback'::text])))
);
ALTER TABLE public.promotions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.promotions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.quarantined_rows (
    campaign_id bigint NOT NULL,
    digest text NOT NULL,
    source text NOT NULL,
    "row" bigint NOT NULL,
    classification_id bigint,
    field text NOT NULL,
    reason text NOT NULL,
    received_at timestamp with time zone NOT NULL
);
CREATE TABLE public.reductions (
    campaign_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    zooniverse_subject_id bigint NOT NULL,
    reducer_key text NOT NULL COLLATE pg_catalog."C",
    reduction_id bigint NOT NULL,
    task text NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    votes bigint NOT NULL,
    counts text NOT NULL COLLATE pg_catalog."C",
    received_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_reductions_votes CHECK ((votes >= 0))
);
CREATE TABLE public.sent_steps (
    campaign_id bigint NOT NULL,
    cycle_id bigint NOT NULL,
    step text NOT NULL,
    token text NOT NULL,
    attempt integer NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    worker text,
    place text,
    heard_at timestamp with time zone,
    CONSTRAINT ck_sent_steps_attempt CHECK ((attempt >= 1)),
    CONSTRAINT ck_sent_steps_heard CHECK ((((heard_at IS NULL) = (worker IS NULL)) AND ((worker IS NULL) = (place IS NULL)))),
    CONSTRAINT ck_sent_steps_step CHECK ((step = ANY (ARRAY['acquiring'::text, 'collecting'::text, 'evaluating'::text, 'gated'::text, 'held'::text, 'kept'::text, 'planned'::text, 'predicting'::text, 'promoted'::text, 'publishing'::text, 'training'::text])))
);
CREATE TABLE public.subject_counts (
    campaign_id bigint NOT NULL,
    state text NOT NULL,
    slot smallint NOT NULL,
    subjects bigint NOT NULL,
    CONSTRAINT ck_subject_counts_state CHECK ((state = ANY (ARRAY['created'::text, 'creating'::text, 'failed'::text, 'live'::text, 'planned'::text, 'retired'::text, 'verified'::text, 'withdrawn'::text])))
);
CREATE TABLE public.subjects (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    cycle_id bigint NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL,
    image_key text NOT NULL,
    state text NOT NULL,
    zooniverse_id bigint,
    n_votes integer NOT NULL,
    attempts integer NOT NULL,
    error text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_subjects_counts CHECK (((n_votes >= 1) AND (attempts >= 0))),
    CONSTRAINT ck_subjects_state CHECK ((state = ANY (ARRAY['created'::text, 'creating'::text, 'failed'::text, 'live'::text, 'planned'::text, 'retired'::text, 'verified'::text, 'withdrawn'::text]))),
    CONSTRAINT ck_subjects_zooniverse_id CHECK (((zooniverse_id IS NOT NULL) OR (state <> ALL (ARRAY['created'::text, 'live'::text, 'retired'::text, 'verified'::text]))))
);
ALTER TABLE public.subjects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.subjects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tallies (
    campaign_id bigint NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    classifications integer NOT NULL,
    votes integer[] NOT NULL,
    last_id bigint NOT NULL,
    seen bytea,
    CONSTRAINT ck_tallies_counts CHECK ((classifications >= 0)),
    CONSTRAINT ck_tallies_votes CHECK ((0 <= ALL (votes)))
);
CREATE TABLE public.tally_faults (
    campaign_id bigint NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    questions smallint[] NOT NULL
);
CREATE TABLE public.tokens (
    id bigint NOT NULL,
    name text NOT NULL,
    scope text NOT NULL,
    digest text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    campaign_id bigint,
    previous_digest text,
    previous_until timestamp with time zone,
    CONSTRAINT ck_tokens_campaign CHECK (((campaign_id IS NULL) OR (scope = 'ingest'::text))),
    CONSTRAINT ck_tokens_previous CHECK (((previous_digest IS NULL) = (previous_until IS NULL))),
    CONSTRAINT ck_tokens_scope CHECK ((scope = ANY (ARRAY['ingest'::text, 'operate'::text, 'read'::text])))
);
ALTER TABLE public.tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.training_snapshots (
    id bigint NOT NULL,
    cycle_id bigint NOT NULL,
    key text NOT NULL,
    digest text NOT NULL,
    n_galaxies integer NOT NULL,
    n_votes bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    reducer text NOT NULL,
    n_inconsistent integer NOT NULL,
    CONSTRAINT ck_training_snapshots_counts CHECK (((n_galaxies >= 0) AND (n_votes >= 0) AND (n_inconsistent >= 0)))
);
ALTER TABLE public.training_snapshots ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.training_snapshots_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.web_sessions (
    id bigint NOT NULL,
    token_id bigint NOT NULL,
    digest text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL
);
ALTER TABLE public.web_sessions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.web_sessions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.webhooks (
    campaign_id bigint NOT NULL,
    key text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.workflow_versions (
    campaign_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    version text NOT NULL,
    tasks text NOT NULL,
    source text NOT NULL,
    received_at timestamp with time zone NOT NULL
);
INSERT INTO public.acquired VALUES (1, 0, 'g38', 'evaluation', NULL, 0.2857142857142857, 1, 3);
INSERT INTO public.acquired VALUES (1, 1, 'g20', 'evaluation', NULL, 0.2857142857142857, 2, 3);
INSERT INTO public.acquired VALUES (1, 2, 'g23', 'evaluation', NULL, 0.2857142857142857, 3, 3);
INSERT INTO public.acquired VALUES (1, 3, 'g22', 'evaluation', NULL, 0.2857142857142857, 4, 3);
INSERT INTO public.acquired VALUES (1, 4, 'g10', 'random', NULL, 0.23076923076923078, 1, 3);
INSERT INTO public.acquired VALUES (1, 5, 'g12', 'random', NULL, 0.23076923076923078, 2, 3);
INSERT INTO public.acquired VALUES (1, 6, 'g30', 'random', NULL, 0.23076923076923078, 3, 3);
INSERT INTO public.acquired VALUES (1, 7, 'g35', 'random', NULL, 0.23076923076923078, 4, 3);
INSERT INTO public.acquired VALUES (1, 8, 'g13', 'random', NULL, 0.23076923076923078, 5, 3);
INSERT INTO public.acquired VALUES (1, 9, 'g11', 'random', NULL, 0.23076923076923078, 6, 3);
INSERT INTO public.acquisitions VALUES (1, '{"beta": 1.0, "easy": 0, "rule": "top", "random": 6, "candidates": 10, "evaluation": 4, "informative": 0, "min_distance": null, "members_in_random": false}', 1257548875868809932, 40, 40, 14, '{}', '2026-01-01 12:00:00+00');
INSERT INTO public.alembic_version VALUES ('0011');
INSERT INTO public.campaign_versions VALUES (1, 1, '91a149a22dbbefff8ddd385712bbf835e5ef2b9c3d50e0921437da10f76602a6', '{"gate": {"repeats": 100, "confidence": 0.95, "min_galaxies": 1, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "name": "test", "seed": 0, "tree": "gz2", "drift": {"max_ks": 0.25, "confident": 0.8, "max_label_shift": 0.2, "max_rate_factor": 3.0, "reference_cycles": 3, "max_abstention_change": 0.2}, "images": {"field": 1.0, "size_px": 16, "channels": 1, "shard_galaxies": 8}, "ingest": {"reducers": [], "tallies_from": "classifications", "retention_days": null, "reductions_since": null}, "shadow": false, "counting": {"launched_at": null, "min_seconds": 0.0, "after_retirement": "counted"}, "decoding": [], "training": {"steps": 2, "network": "walmsley2020", "threads": 1, "warm_start": false, "min_new_votes": 1, "batch_galaxies": 4}, "collecting": {"votes_share": 1.0, "deadline_hours": 144.0}, "evaluation": {"answer": "smooth-or-featured_smooth", "fraction": 0.3}, "hold_hours": 0.0, "prediction": {"draws": 5, "precision": "auto"}, "zooniverse": {"mode": "upload", "tiers": [], "endpoint": "http://127.0.0.1:9", "project_id": 1, "retirement": "panoptes", "subject_set": "alservice active", "workflow_id": 10, "pool_id_field": "#survey_id", "pool_subject_set": null}, "acquisition": {"beta": 1.0, "policy": "power_bald", "allocated": null, "easy_share": 0.05, "random_share": 0.15, "batch_galaxies": 5, "diversity_share": 0.0, "survey_galaxies": 200, "initial_galaxies": 6, "question_weights": {}, "threshold_answer": "smooth-or-featured_featured-or-disk", "votes_per_galaxy": 3, "initial_evaluation_galaxies": 4}}', '2026-01-01 12:00:00+00');
INSERT INTO public.campaigns OVERRIDING SYSTEM VALUE VALUES (1, 'test');
INSERT INTO public.catalogues OVERRIDING SYSTEM VALUE VALUES (1, 1, 'test', '8e5293206ca800816a4bf18e129e34824feb54b347a7b83c5663ad632e6987d1', 40, 0, 'recorded-votes/bf/bf3e2b23be3db25c3feafddffece7c0f8e0786a8099e0286750c73923e39d8bd.parquet', '2026-01-01 12:00:00+00');
INSERT INTO public.classifications VALUES (1, 500000001, 10, '11.0', 100000001, NULL, 's500000001', 't500000001', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 0}, {"task": "T5", "value": 1}, {"task": "T9", "value": 2}, {"task": "T10", "value": 1}]', 'g10', '{1,4,5,7,9,14,30,32}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000002, 10, '11.0', 100000001, NULL, 's500000002', 't500000002', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g10', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000003, 10, '11.0', 100000001, NULL, 's500000003', 't500000003', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 3}, {"task": "T5", "value": 0}, {"task": "T7", "value": 2}, {"task": "T9", "value": 0}, {"task": "T10", "value": 2}]', 'g10', '{1,4,5,7,12,13,20,28,33}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000004, 10, '11.0', 100000002, NULL, 's500000004', 't500000004', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 0}, {"task": "T7", "value": 0}, {"task": "T8", "value": 0}]', 'g11', '{1,3,13,18,25}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000005, 10, '11.0', 100000002, NULL, 's500000005', 't500000005', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 0}, {"task": "T5", "value": 0}, {"task": "T6", "value": 0}, {"task": "T7", "value": 3}]', 'g11', '{0,13,15,21}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000006, 10, '11.0', 100000002, NULL, 's500000006', 't500000006', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 0}, {"task": "T5", "value": 0}, {"task": "T6", "value": 2}, {"task": "T7", "value": 2}]', 'g11', '{0,13,17,20}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000007, 10, '11.0', 100000005, NULL, 's500000007', 't500000007', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g12', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000008, 10, '11.0', 100000005, NULL, 's500000008', 't500000008', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g12', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000009, 10, '11.0', 100000005, NULL, 's500000009', 't500000009', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g12', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000010, 10, '11.0', 100000009, NULL, 's500000010', 't500000010', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 1}, {"task": "T8", "value": 1}]', 'g13', '{1,3,14,26}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000011, 10, '11.0', 100000009, NULL, 's500000011', 't500000011', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 0}, {"task": "T5", "value": 1}, {"task": "T6", "value": 1}]', 'g13', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000012, 10, '11.0', 100000009, NULL, 's500000012', 't500000012', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g13', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000013, 10, '11.0', 100000004, NULL, 's500000013', 't500000013', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 0}, {"task": "T7", "value": 2}, {"task": "T8", "value": 1}]', 'g20', '{1,3,13,20,26}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000014, 10, '11.0', 100000004, NULL, 's500000014', 't500000014', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 2}, {"task": "T5", "value": 0}, {"task": "T7", "value": 3}, {"task": "T9", "value": 1}, {"task": "T10", "value": 4}]', 'g20', '{1,4,5,7,11,13,21,29,35}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000015, 10, '11.0', 100000004, NULL, 's500000015', 't500000015', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 1}, {"task": "T3", "value": 0}, {"task": "T4", "value": 1}, {"task": "T5", "value": 1}, {"task": "T9", "value": 1}, {"task": "T10", "value": 1}]', 'g20', '{1,4,6,7,10,14,29,32}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000016, 10, '11.0', 100000008, NULL, 's500000016', 't500000016', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 1}, {"task": "T4", "value": 2}, {"task": "T5", "value": 0}, {"task": "T7", "value": 0}]', 'g22', '{1,4,5,8,11,13,18}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000017, 10, '11.0', 100000008, NULL, 's500000017', 't500000017', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 1}, {"task": "T4", "value": 1}, {"task": "T5", "value": 1}]', 'g22', '{1,4,5,8,10,14}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000018, 10, '11.0', 100000008, NULL, 's500000018', 't500000018', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g22', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000019, 10, '11.0', 100000006, NULL, 's500000019', 't500000019', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 1}, {"task": "T5", "value": 1}, {"task": "T9", "value": 0}, {"task": "T10", "value": 3}]', 'g23', '{1,4,5,7,10,14,28,34}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000020, 10, '11.0', 100000006, NULL, 's500000020', 't500000020', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 0}, {"task": "T5", "value": 1}, {"task": "T9", "value": 0}, {"task": "T10", "value": 3}]', 'g23', '{1,4,5,7,9,14,28,34}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000021, 10, '11.0', 100000006, NULL, 's500000021', 't500000021', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 0}, {"task": "T5", "value": 1}, {"task": "T6", "value": 1}]', 'g23', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000022, 10, '11.0', 100000007, NULL, 's500000022', 't500000022', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 3}, {"task": "T5", "value": 0}, {"task": "T7", "value": 1}, {"task": "T9", "value": 1}, {"task": "T10", "value": 3}]', 'g30', '{1,4,5,7,12,13,19,29,34}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000023, 10, '11.0', 100000007, NULL, 's500000023', 't500000023', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 1}, {"task": "T3", "value": 1}, {"task": "T4", "value": 3}, {"task": "T5", "value": 1}]', 'g30', '{1,4,6,8,12,14}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000024, 10, '11.0', 100000007, NULL, 's500000024', 't500000024', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 1}, {"task": "T2", "value": 0}, {"task": "T3", "value": 0}, {"task": "T4", "value": 3}, {"task": "T5", "value": 1}, {"task": "T9", "value": 2}, {"task": "T10", "value": 1}]', 'g30', '{1,4,5,7,12,14,30,32}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000029, 10, '11.0', 100000010, NULL, 's500000029', 't500000029', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g38', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000025, 10, '11.0', 100000003, NULL, 's500000025', 't500000025', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 0}, {"task": "T7", "value": 4}, {"task": "T8", "value": 0}]', 'g35', '{1,3,13,22,25}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000026, 10, '11.0', 100000003, NULL, 's500000026', 't500000026', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 1}, {"task": "T8", "value": 0}]', 'g35', '{1,3,14,25}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000027, 10, '11.0', 100000003, NULL, 's500000027', 't500000027', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 1}, {"task": "T1", "value": 0}, {"task": "T5", "value": 1}, {"task": "T8", "value": 2}]', 'g35', '{1,3,14,27}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000028, 10, '11.0', 100000010, NULL, 's500000028', 't500000028', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g38', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.classifications VALUES (1, 500000030, 10, '11.0', 100000010, NULL, 's500000030', 't500000030', 'later', false, true, '2026-01-01 00:00:00+00', '[{"task": "T0", "value": 2}]', 'g38', '{2}', 0, NULL, 'counted', 'api', '2026-01-01 12:00:00+00', NULL, false, false, 'api', NULL);
INSERT INTO public.cycle_statistics VALUES (1, 'drift', '{"sample": {"labels": {"bar": [5, 1], "bulge-size": [1, 3, 2, 0], "how-rounded": [0, 1, 0], "odd-feature": [1, 0, 1, 1, 0, 0, 0], "disk-edge-on": [1, 6], "edge-on-bulge": [0, 1, 0], "something-odd": [3, 5], "spiral-winding": [2, 2, 0], "has-spiral-arms": [4, 2], "spiral-arm-count": [0, 1, 0, 2, 1, 0], "smooth-or-featured": [1, 7, 4]}, "samples": {"axis ratio": [0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666, 0.4879500364742666], "brightness": [6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25, 6.25], "concentration": [1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047, 1.747425010840047], "half-light radius [px]": [2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424, 2.1213203435596424], "expected information [nats]": [0.0002484752288570376, 0.0002554674889598082, 0.0002817399340891978, 0.000402058824996068, 0.00044604096242168985, 0.0004702419426803657, 0.0004825705543774015, 0.0005071268233966265, 0.0005469677445534425, 0.0005877175067391768, 0.0006011343193583385, 0.0006321582317313497, 0.0006606705040596184, 0.0006910260861194181]}, "abstention": 1.0, "votes_per_hour": null}, "figures": []}', '2026-01-01 12:00:00+00');
INSERT INTO public.cycles OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 1, 0, 'done', NULL, NULL, 1, '2026-01-07 12:00:00+00', '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00', 'full');
INSERT INTO public.cycles OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, 1, 1, 'acquiring', NULL, 1, NULL, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00', 'full');
INSERT INTO public.evaluations VALUES (1, 1, '{"answers": [{"pit_p": null, "fractions": {"name": "smooth-or-featured_smooth", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "smooth-or-featured_featured-or-disk", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "smooth-or-featured_artifact", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "disk-edge-on_yes", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "disk-edge-on_no", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bar_yes", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bar_no", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "has-spiral-arms_yes", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "has-spiral-arms_no", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bulge-size_no", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bulge-size_just-noticeable", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bulge-size_obvious", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "bulge-size_dominant", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "something-odd_yes", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "something-odd_no", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "how-rounded_round", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "how-rounded_in-between", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "how-rounded_cigar-shaped", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_ring", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_lens-or-arc", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_disturbed", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_irregular", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_other", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_merger", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "odd-feature_dust-lane", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "edge-on-bulge_rounded", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "edge-on-bulge_boxy", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "edge-on-bulge_none", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-winding_tight", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-winding_medium", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-winding_loose", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_1", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_2", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_3", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_4", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_more-than-4", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}, {"pit_p": null, "fractions": {"name": "spiral-arm-count_cant-tell", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "reliability": [], "pit_distance": null}], "n_votes": 58, "min_votes": 10, "questions": [{"n_votes": 12, "question": "smooth-or-featured", "confident": null, "fractions": {"name": "smooth-or-featured", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 4, "nll_per_vote": {"low": null, "high": null, "value": 0.8312760048977282}}, {"n_votes": 7, "question": "disk-edge-on", "confident": null, "fractions": {"name": "disk-edge-on", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 3, "nll_per_vote": {"low": null, "high": null, "value": 0.5245361174771082}}, {"n_votes": 6, "question": "bar", "confident": null, "fractions": {"name": "bar", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 3, "nll_per_vote": {"low": null, "high": null, "value": 0.5604409377975835}}, {"n_votes": 6, "question": "has-spiral-arms", "confident": null, "fractions": {"name": "has-spiral-arms", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 3, "nll_per_vote": {"low": null, "high": null, "value": 0.6471681523341806}}, {"n_votes": 6, "question": "bulge-size", "confident": null, "fractions": {"name": "bulge-size", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 3, "nll_per_vote": {"low": null, "high": null, "value": 1.0925003494941121}}, {"n_votes": 8, "question": "something-odd", "confident": null, "fractions": {"name": "something-odd", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 3, "nll_per_vote": {"low": null, "high": null, "value": 0.46111775107643216}}, {"n_votes": 1, "question": "how-rounded", "confident": null, "fractions": {"name": "how-rounded", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 1, "nll_per_vote": {"low": null, "high": null, "value": 1.0971229692380502}}, {"n_votes": 3, "question": "odd-feature", "confident": null, "fractions": {"name": "odd-feature", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 2, "nll_per_vote": {"low": null, "high": null, "value": 1.736039205859442}}, {"n_votes": 1, "question": "edge-on-bulge", "confident": null, "fractions": {"name": "edge-on-bulge", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 1, "nll_per_vote": {"low": null, "high": null, "value": 1.103184097587751}}, {"n_votes": 4, "question": "spiral-winding", "confident": null, "fractions": {"name": "spiral-winding", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 2, "nll_per_vote": {"low": null, "high": null, "value": 1.0174768378297165}}, {"n_votes": 4, "question": "spiral-arm-count", "confident": null, "fractions": {"name": "spiral-arm-count", "rmse": null, "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, "n_galaxies": 2, "nll_per_vote": {"low": null, "high": null, "value": 1.5475583180489572}}], "assessment": "assessments/0e/0ea13908f8feaa254420e883351ec44dd79b73c00a00bc092215bf4650b8cd65.safetensors", "n_galaxies": 4, "tolerances": [0.02, 0.05, 0.1, 0.2], "nll_per_vote": {"low": 0.8061497470735988, "high": 0.8739609820797144, "value": 0.8414694626792764}, "cumulative_rmse": null}', '2026-01-01 12:00:00+00');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.started', '{"number": 0, "version": 1, "champion": null, "catalogue": 1, "cycle_kind": "full"}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "acquiring", "from": "planned", "image_shards": 5}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (3, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "publishing", "from": "acquiring", "votes": 30, "random": 6, "evaluation": 4}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (4, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "collecting", "from": "publishing", "live": 10, "sent": 10, "failed": 0, "adopted": 0, "requested": 10, "surplus_removed": []}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (5, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "training", "new": 30, "from": "collecting", "read": 30, "counted": 30, "is_over": true, "snapshot": "4e55b142817daaa692a422117bb37f589d186d2aafe38f64b9fc28e90752c9da", "new_votes": 136, "requested": 30, "needed_votes": 1}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (6, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "evaluating", "from": "training", "model": "8d29064b96fd5fb4221b6136790a740bb012b5bc95e702d60d79cb7aea451123"}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (7, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "gated", "from": "evaluating", "galaxies": 4, "nll_per_vote": 0.8414694626792764}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (8, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "promoted", "from": "gated", "verdict": "promote"}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (9, 1, 1, '2026-01-01 12:00:00+00', 'test', 'gate.decided', '{"checks": [{"low": null, "high": null, "name": "first-model", "value": null, "detail": "There is no champion yet.", "margin": null, "passed": true}], "policy": {"repeats": 100, "confidence": 0.95, "min_galaxies": 1, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "n_votes": 58, "verdict": "promote", "n_galaxies": 4}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (10, 1, 1, '2026-01-01 12:00:00+00', 'test', 'model.moved', '{"to": "champion", "from": "candidate", "model": 1}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (11, 1, 1, '2026-01-01 12:00:00+00', 'test', 'model.promoted', '{"model": 1, "reason": "the gate", "replaced": null}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (12, 1, 1, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "done", "from": "promoted"}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (13, 1, 2, '2026-01-01 12:00:00+00', 'test', 'cycle.started', '{"number": 1, "version": 1, "champion": 1, "catalogue": 1, "cycle_kind": "full"}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (14, 1, 2, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "predicting", "from": "planned", "image_shards": 5}');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES (15, 1, 2, '2026-01-01 12:00:00+00', 'test', 'cycle.moved', '{"to": "acquiring", "done": 40, "from": "predicting", "failed": 0, "requested": 40}');
INSERT INTO public.galaxies VALUES (1, 0, 'g00', 10, -5, 'images/86/86d90cfd8f608d075b53aba3bfe7d95f8084011817696487ef1274d47c191457.png', true, true);
INSERT INTO public.galaxies VALUES (1, 1, 'g01', 11, -5, 'images/41/419dc935650b68d8d25ad2248e03300c8d2d614041a27f0dc8d97019dc892b4a.png', true, true);
INSERT INTO public.galaxies VALUES (1, 2, 'g02', 12, -5, 'images/4a/4a7aff3998bc79376e11f2d7fe09807d295110230d556febfc33ee004575efab.png', true, false);
INSERT INTO public.galaxies VALUES (1, 3, 'g03', 13, -5, 'images/d1/d16b3f310e45f754ee72734abfc70826fb1405b43256e97c0cce8000c55083eb.png', true, false);
INSERT INTO public.galaxies VALUES (1, 4, 'g04', 14, -5, 'images/a1/a1ee334270851c37a2dce02b2cdbecba5567cb6ec7b98ad2f9c088581d3028be.png', true, true);
INSERT INTO public.galaxies VALUES (1, 5, 'g05', 15, -5, 'images/77/77dd5583389b5de37104867e436302cd3135af64e7bdd84b55cf1da27229d51a.png', true, false);
INSERT INTO public.galaxies VALUES (1, 6, 'g06', 16, -5, 'images/b7/b77952b1417e28c9b091a7d249ccaba2b7e9cf70c14e5049f8f1f644b239b8ca.png', true, false);
INSERT INTO public.galaxies VALUES (1, 7, 'g07', 17, -5, 'images/2d/2d484afc6f3254952414aa37fe3fdba9e3f864ff26839c69214812f7cb5b2293.png', true, false);
INSERT INTO public.galaxies VALUES (1, 8, 'g08', 18, -5, 'images/29/29e5d700c7d9250c083c2de82e4c617d6c6e974b8c6399c409099ad30aea743c.png', true, false);
INSERT INTO public.galaxies VALUES (1, 9, 'g09', 19, -5, 'images/1b/1b10e932d2a6056bdd95ca6c68ff47127af47eef67b4f5b61dc845377962a132.png', true, false);
INSERT INTO public.galaxies VALUES (1, 10, 'g10', 20, -5, 'images/45/45d4dc0a7e2a3b583086dcdd4c3f99583b96197151eb7c1c1f0bc894655bfdd4.png', true, false);
INSERT INTO public.galaxies VALUES (1, 11, 'g11', 21, -5, 'images/77/77fcbb646d423169ab3c0e8fba454f3d6b1b1869cfcedc34344db72e1f8b86d8.png', true, false);
INSERT INTO public.galaxies VALUES (1, 12, 'g12', 22, -5, 'images/a3/a33128e1ebbea4a84a80c12e7f5b132565077f8f5f45da074bd692b70984d55a.png', true, false);
INSERT INTO public.galaxies VALUES (1, 13, 'g13', 23, -5, 'images/de/de053a92c36bad27e0503257c76a7506f26b1d256c1a47bbc5f00ca8abf79d71.png', true, false);
INSERT INTO public.galaxies VALUES (1, 14, 'g14', 24, -5, 'images/51/51346f6cdb37244a1db3bec926ff37d2efc5dbec675cc551c354a05f56c74edc.png', true, false);
INSERT INTO public.galaxies VALUES (1, 15, 'g15', 25, -5, 'images/1a/1a0b1945eee0b38b257d3e9e1e8de5bc4a56dc3f422fde774758d3e00ba90afa.png', true, false);
INSERT INTO public.galaxies VALUES (1, 16, 'g16', 26, -5, 'images/88/881ed001df81c2a447b5cd4cccf4d13ccb13fe8b78da84d0ddb6c93bb800c6c5.png', true, true);
INSERT INTO public.galaxies VALUES (1, 17, 'g17', 27, -5, 'images/b0/b00dfe9c628232ac94ef1079f0204c68fc4ff6b6e3e00beca6d6c4f54bf199f7.png', true, false);
INSERT INTO public.galaxies VALUES (1, 18, 'g18', 28, -5, 'images/3e/3e8cb57971af0a26793c6b475e2f4827787ec915dd75933d947e53138bf4a996.png', true, false);
INSERT INTO public.galaxies VALUES (1, 19, 'g19', 29, -5, 'images/5c/5cd6f2dfd7d09ebaab46bdca9bf2a029c2f34b0a8fe07ed24c92cf4f7edf2b09.png', true, false);
INSERT INTO public.galaxies VALUES (1, 20, 'g20', 30, -5, 'images/a9/a90aedcaa663fcded9b053b941b2ca51d4e7a7b9d05bba734f99f4d178bc0481.png', true, true);
INSERT INTO public.galaxies VALUES (1, 21, 'g21', 31, -5, 'images/2a/2a2cd53b5562698f1142d55b592dd3c0cb9796d1061e3346553d0afdf6b4269f.png', true, false);
INSERT INTO public.galaxies VALUES (1, 22, 'g22', 32, -5, 'images/08/08bd6a513ba9c2078d377a1f05ddd22c69e57bad6afab6bba185614e33b1d9fb.png', true, true);
INSERT INTO public.galaxies VALUES (1, 23, 'g23', 33, -5, 'images/68/688afcaa68a07286d7fa0541b06fe8d9276886e321c97af68b1be7c827602b9c.png', true, true);
INSERT INTO public.galaxies VALUES (1, 24, 'g24', 34, -5, 'images/9d/9dbbf6dc485e6f43be4fa89f0bad03133847149d5954e6c4a470cec83667b2af.png', true, false);
INSERT INTO public.galaxies VALUES (1, 25, 'g25', 35, -5, 'images/29/2957acf1f93776433dfd3026a67fbc5b5e5be3d0d4437e5b1f7a6e9d0922154c.png', true, true);
INSERT INTO public.galaxies VALUES (1, 26, 'g26', 36, -5, 'images/0f/0fa17f12ce6dce0cef6842d77fd311627bf78f0bc153d1a1e1ace85031ce35e3.png', true, false);
INSERT INTO public.galaxies VALUES (1, 27, 'g27', 37, -5, 'images/2d/2db231779d262e6fff1f12a2485341a6de6e1e2395e9475e87f94c78cc848956.png', true, false);
INSERT INTO public.galaxies VALUES (1, 28, 'g28', 38, -5, 'images/7d/7dc2e4af48f13e9c23f3b2b3e0b22497c9324d0692acb87a52ce085c301e25bf.png', true, true);
INSERT INTO public.galaxies VALUES (1, 29, 'g29', 39, -5, 'images/b6/b6dde4fe50fdc45776102a693d82aedcb3a8e4c0468e15f0b20df76a12cc3288.png', true, false);
INSERT INTO public.galaxies VALUES (1, 30, 'g30', 40, -5, 'images/03/036870358a912d6cab13b42b33c553ed0d9111449ecf8272d20049ea1a45ab2b.png', true, false);
INSERT INTO public.galaxies VALUES (1, 31, 'g31', 41, -5, 'images/8c/8c5dd425763b91cf39e335174e5570571a1070af526aa9bc86ecb9b812cfd320.png', true, true);
INSERT INTO public.galaxies VALUES (1, 32, 'g32', 42, -5, 'images/95/95012dd78c2ea5e20d4dc62a45e37fbd6276dbc20c54fdf7039871034c71fb47.png', true, true);
INSERT INTO public.galaxies VALUES (1, 33, 'g33', 43, -5, 'images/69/699dd47ec5d495ba05f10ed71b642740ca784522b93e4b5d4e9ab698eb78c919.png', true, false);
INSERT INTO public.galaxies VALUES (1, 34, 'g34', 44, -5, 'images/dc/dc673675b2d8884334f24a701a7f8482af4738b0b6dfbba95d877f134cd61951.png', true, true);
INSERT INTO public.galaxies VALUES (1, 35, 'g35', 45, -5, 'images/7a/7a43a6e6c875fa75969340e266d349913d2eac63b32a5caaa58dc5180b6a7273.png', true, false);
INSERT INTO public.galaxies VALUES (1, 36, 'g36', 46, -5, 'images/dc/dc3b68887f68ba6b2a6d6f1fd79f1541181c4571a2f68388e0bc3f96edfed6ed.png', true, true);
INSERT INTO public.galaxies VALUES (1, 37, 'g37', 47, -5, 'images/e9/e9b97068d506790fbae71a2d626539080f605d6a084113ab8a5e7a7895c3dd52.png', true, false);
INSERT INTO public.galaxies VALUES (1, 38, 'g38', 48, -5, 'images/33/332575f33f931215a952111483dec4d6e9bd4d72ff68394c80c0c17917734f3d.png', true, true);
INSERT INTO public.galaxies VALUES (1, 39, 'g39', 49, -5, 'images/da/da64262930894b61021e47b836184f13cafa0071547a626a018979dc44a97c21.png', true, false);
INSERT INTO public.gate_decisions VALUES (1, 'promote', '{"checks": [{"low": null, "high": null, "name": "first-model", "value": null, "detail": "There is no champion yet.", "margin": null, "passed": true}], "policy": {"repeats": 100, "confidence": 0.95, "min_galaxies": 1, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "n_votes": 58, "verdict": "promote", "n_galaxies": 4}', 'test', '2026-01-01 12:00:00+00');
INSERT INTO public.image_shards VALUES (1, '16px-1c-8', 0, 'packs/4c/4c966a3e04636303d0b4afb17cc8c054e20294cee8dd46d4ef0ae176beb5686f.safetensors', 8, 0);
INSERT INTO public.image_shards VALUES (1, '16px-1c-8', 1, 'packs/30/3060545e6201517cf97cbc21a0f4343b39c58f3da9f54d70447d63db739bc943.safetensors', 8, 0);
INSERT INTO public.image_shards VALUES (1, '16px-1c-8', 2, 'packs/50/5006f90dfaf900140f7c98c99c9f4e81cb0a01e968a495253d7fcb319ee55b3b.safetensors', 8, 0);
INSERT INTO public.image_shards VALUES (1, '16px-1c-8', 3, 'packs/2c/2cb8e1f46d84c1023ac4687a295dcdb1ad4663d3de8830e398b7308ca0f51fe1.safetensors', 8, 0);
INSERT INTO public.image_shards VALUES (1, '16px-1c-8', 4, 'packs/da/daab13dca932e18bb2b66a0390e838e59ba4e996dd08ce8693f3f8dfb92164dc.safetensors', 8, 0);
INSERT INTO public.ingest_cursors VALUES (1, 'api', 500000030, '2026-01-01 12:00:00+00');
INSERT INTO public.ingest_hours VALUES (1, '2026-01-01 12:00:00+00', 'api', 30);
INSERT INTO public.ingest_totals VALUES (1, 'api', 30);
INSERT INTO public.models OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 1, 'models/8d/8d29064b96fd5fb4221b6136790a740bb012b5bc95e702d60d79cb7aea451123.safetensors', '8d29064b96fd5fb4221b6136790a740bb012b5bc95e702d60d79cb7aea451123', 'champion', '{"seed": 2132375230955523101, "tree": "gz2", "parent": null, "history": [{"step": 1.0, "train": 10.813163757324219, "hold_out": 2.8545727729797363}, {"step": 2.0, "train": 14.334454536437988, "hold_out": 2.8644540309906006}], "n_votes": 78, "network": {"name": "walmsley2020", "field": 1.0, "heads": 5, "dropout": 0.5, "channels": 1, "image_px": 16}, "reducer": "counts-1:d14824962834", "training": {"seed": 2132375230955523101, "batch": 4, "looks": 10, "steps": 2, "average": 0.99, "network": {"name": "walmsley2020", "field": 1.0, "heads": 5, "dropout": 0.5, "channels": 1, "image_px": 16}, "threads": 1, "warm_up": 0.1, "hold_out": 0.1, "optimiser": "adamw", "precision": "bfloat16", "augmentation": {"zoom": 1.2, "shift": 0.02, "contrast": 0.05}, "weight_decay": 0.3, "learning_rate": 0.003, "mean_precision": 40.0}, "tree_hash": "51404bf353564202b1d3ef30d144d85cdd80182ae54207e1fe8fe3759b99b943", "n_galaxies": 6, "data_digest": "897d1ae604410fc450e1d29f1d9300e0d0e886a1ac2f3f2db7562ffe94aed09e", "code_revision": "0.1.0+899119176bf5", "n_inconsistent": 0}', '2026-01-01 12:00:00+00');
INSERT INTO public.posterior_shards VALUES (1, 1, 'evaluation', 0, 'posteriors/f9/f90773a891cce657f0caa23bc3cf1a56107e8c37432e40a7464e49509716d185.parquet', 3, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'evaluation', 1, 'posteriors/bf/bf1d5b7cb81e487c1ebf1fcbac1b2202f7206ed3e94283e2a909cb85271973ca.parquet', 0, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'evaluation', 2, 'posteriors/34/34d56a453fef8d3993ca351baa21ea2156d6970b2f05bb99c293dc68a9fa5a12.parquet', 4, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'evaluation', 3, 'posteriors/78/789ddae7a30a4b1a962fdd36fee80047a9fa9eb8a494329c96d76869a63e8d20.parquet', 3, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'evaluation', 4, 'posteriors/bf/bf827c38d816d76e1a7e514ac4476418116fd195cc8d3490268fbc1dc4ad1fde.parquet', 4, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'catalogue', 0, 'posteriors/e3/e3cc0ad31c6dfe2a2db1b0dcfa41183b1f81ab61d3f95de28f8884b0f20c97e6.parquet', 8, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'catalogue', 1, 'posteriors/b8/b8e4eb305907e36f547e4a740704bcc3f3025c14400f11ff1ba69f2d4f38e045.parquet', 8, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'catalogue', 2, 'posteriors/4a/4aa915d61ae3efb16182e2b1c99eefade361045184d42e94284710d4a3280067.parquet', 8, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'catalogue', 3, 'posteriors/a7/a7464e79c290182f6853023de7a1eda6994f0fffb4c6025fb08cc96535b69f33.parquet', 8, 0);
INSERT INTO public.posterior_shards VALUES (1, 1, 'catalogue', 4, 'posteriors/c4/c4c65cd536be5db54bf5eec56a251e26dda3899d533a6c411a5642e08069f4d4.parquet', 8, 0);
INSERT INTO public.promotions OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, NULL, 'gate', 'test', 'the gate', '2026-01-01 12:00:00+00');
INSERT INTO public.subject_counts VALUES (1, 'planned', 5, 8);
INSERT INTO public.subject_counts VALUES (1, 'planned', 8, -1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 27, -1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 31, -1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 6, -1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 0, 1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 0, -1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 28, 1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 28, -1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 2, -1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 2, 0);
INSERT INTO public.subject_counts VALUES (1, 'created', 27, 1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 27, 0);
INSERT INTO public.subject_counts VALUES (1, 'created', 31, 1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 31, 0);
INSERT INTO public.subject_counts VALUES (1, 'created', 6, 1);
INSERT INTO public.subject_counts VALUES (1, 'creating', 6, 0);
INSERT INTO public.subject_counts VALUES (1, 'creating', 7, 1);
INSERT INTO public.subject_counts VALUES (1, 'planned', 7, -1);
INSERT INTO public.subject_counts VALUES (1, 'created', 8, 2);
INSERT INTO public.subject_counts VALUES (1, 'creating', 8, -1);
INSERT INTO public.subject_counts VALUES (1, 'created', 5, 4);
INSERT INTO public.subject_counts VALUES (1, 'creating', 5, -2);
INSERT INTO public.subject_counts VALUES (1, 'created', 2, -9);
INSERT INTO public.subject_counts VALUES (1, 'verified', 2, 10);
INSERT INTO public.subject_counts VALUES (1, 'live', 0, 10);
INSERT INTO public.subject_counts VALUES (1, 'verified', 0, -10);
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'g10', 'a17372664961f4474c527a74d4ff8021', 'images/45/45d4dc0a7e2a3b583086dcdd4c3f99583b96197151eb7c1c1f0bc894655bfdd4.png', 'live', 100000001, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, 'g11', 'e531b216d50ae0dbad11f3a57bd1ad96', 'images/77/77fcbb646d423169ab3c0e8fba454f3d6b1b1869cfcedc34344db72e1f8b86d8.png', 'live', 100000002, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (8, 1, 1, 'g30', '2d8e08bda6ba5147194d2473e335567a', 'images/03/036870358a912d6cab13b42b33c553ed0d9111449ecf8272d20049ea1a45ab2b.png', 'live', 100000007, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (9, 1, 1, 'g35', '469a6ac8fe6645b09bce5307a92c5770', 'images/7a/7a43a6e6c875fa75969340e266d349913d2eac63b32a5caaa58dc5180b6a7273.png', 'live', 100000003, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (7, 1, 1, 'g23', '165ab60bacdc887aa48cc7747ef4c4d6', 'images/68/688afcaa68a07286d7fa0541b06fe8d9276886e321c97af68b1be7c827602b9c.png', 'live', 100000006, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (3, 1, 1, 'g12', '3cc72c27fa370ed6767f3b47145f4020', 'images/a3/a33128e1ebbea4a84a80c12e7f5b132565077f8f5f45da074bd692b70984d55a.png', 'live', 100000005, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (5, 1, 1, 'g20', '88fdcab51de55e7452d1b01cca58bf4b', 'images/a9/a90aedcaa663fcded9b053b941b2ca51d4e7a7b9d05bba734f99f4d178bc0481.png', 'live', 100000004, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (6, 1, 1, 'g22', '96f9fed241ee0f59fe28e3aa0327dae7', 'images/08/08bd6a513ba9c2078d377a1f05ddd22c69e57bad6afab6bba185614e33b1d9fb.png', 'live', 100000008, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (4, 1, 1, 'g13', '0a475b480ec3e22f77cc996ec12d0fdb', 'images/de/de053a92c36bad27e0503257c76a7506f26b1d256c1a47bbc5f00ca8abf79d71.png', 'live', 100000009, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES (10, 1, 1, 'g38', 'ee9db9b008b530bc06407d88d79185be', 'images/33/332575f33f931215a952111483dec4d6e9bd4d72ff68394c80c0c17917734f3d.png', 'live', 100000010, 3, 1, NULL, '2026-01-01 12:00:00+00', '2026-01-01 12:00:00+00');
INSERT INTO public.tallies VALUES (1, 'g10', 3, '{0,2,1,0,2,2,0,2,0,1,0,0,1,1,1,0,0,0,0,0,1,0,0,0,0,0,0,0,1,0,1,0,1,1,0,0,0}', 500000003, '\x1ebe5e10e4abec5a3d72f5b60178a27cf65ec1d28152f576');
INSERT INTO public.tallies VALUES (1, 'g11', 3, '{2,1,0,1,0,0,0,0,0,0,0,0,0,3,0,1,0,1,1,0,1,1,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0}', 500000006, '\x9b4ec99ef5d9f9fbd939c73a7bf95b8765b05177f06477a5');
INSERT INTO public.tallies VALUES (1, 'g12', 3, '{0,0,3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', 500000009, '\xebd5777536406b676a3fc4a1ba5778848d05a178d4b6facb');
INSERT INTO public.tallies VALUES (1, 'g13', 3, '{1,1,1,1,0,0,0,0,0,0,0,0,0,0,2,0,1,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0}', 500000012, '\xdc8a2662b29bd3e4ecfa087531d9fedb7f4c5af37038adc8');
INSERT INTO public.tallies VALUES (1, 'g20', 3, '{0,3,0,1,2,1,1,2,0,0,1,1,0,2,1,0,0,0,0,0,1,1,0,0,0,0,1,0,0,2,0,0,1,0,0,1,0}', 500000015, '\x51e1d83fd0686357d3c8f97223e004c11c1dd9e41098f18c');
INSERT INTO public.tallies VALUES (1, 'g22', 3, '{0,2,1,0,2,2,0,0,2,0,1,1,0,1,1,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', 500000018, '\xc7418f05df1aa98f1a6dc57a2147f30d0f7edcde8f591810');
INSERT INTO public.tallies VALUES (1, 'g23', 3, '{1,2,0,0,2,2,0,2,0,1,1,0,0,0,3,0,1,0,0,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,2,0,0}', 500000021, '\xc7c7882947820cb5769a3f820f2176529a55194eef00932d');
INSERT INTO public.tallies VALUES (1, 'g30', 3, '{0,3,0,0,3,2,1,2,1,0,0,0,3,1,2,0,0,0,0,1,0,0,0,0,0,0,0,0,0,1,1,0,1,0,1,0,0}', 500000024, '\x9b22b6fe9821cf457c5601ceb04326e0648687da3fd4cbdb');
INSERT INTO public.tallies VALUES (1, 'g35', 3, '{0,3,0,3,0,0,0,0,0,0,0,0,0,1,2,0,0,0,0,0,0,0,1,0,0,2,0,1,0,0,0,0,0,0,0,0,0}', 500000027, '\x213fb51dbbfda00b5b822841e3677c60e90a6933b6e1f09d');
INSERT INTO public.tallies VALUES (1, 'g38', 3, '{0,0,3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', 500000030, '\xd92178d08c634a82ba65149d42c633f06dbf5692c9531141');
INSERT INTO public.training_snapshots OVERRIDING SYSTEM VALUE VALUES (1, 1, 'tallies/dc/dcb431b8a3c724f4f8196bb4e9017951d6a0e45f2142f60c0bc4c62d3884e449.parquet', '4e55b142817daaa692a422117bb37f589d186d2aafe38f64b9fc28e90752c9da', 10, 136, '2026-01-01 12:00:00+00', 'counts-1:d14824962834', 0);
INSERT INTO public.workflow_versions VALUES (1, 10, '11.0', '{"T0": {"answers": [{"label": "Smooth"}, {"label": "Features or disk"}, {"label": "Star or artifact"}], "question": "Is the galaxy simply smooth and rounded, with no sign of a disk?", "type": "single"}, "T1": {"answers": [{"label": "Yes"}, {"label": "No"}], "question": "Could this be a disk viewed edge-on?", "type": "single"}, "T10": {"answers": [{"label": "1"}, {"label": "2"}, {"label": "3"}, {"label": "4"}, {"label": "More than 4"}, {"label": "Can''t tell"}], "question": "How many spiral arms are there?", "type": "single"}, "T2": {"answers": [{"label": "Bar"}, {"label": "No bar"}], "question": "Is there a sign of a bar feature through the center of the galaxy?", "type": "single"}, "T3": {"answers": [{"label": "Spiral"}, {"label": "No spiral"}], "question": "Is there any sign of a spiral arm pattern?", "type": "single"}, "T4": {"answers": [{"label": "No bulge"}, {"label": "Just noticeable"}, {"label": "Obvious"}, {"label": "Dominant"}], "question": "How prominent is the central bulge, compared with the rest of the galaxy?", "type": "single"}, "T5": {"answers": [{"label": "Yes"}, {"label": "No"}], "question": "Is there anything odd?", "type": "single"}, "T6": {"answers": [{"label": "Completely round"}, {"label": "In between"}, {"label": "Cigar shaped"}], "question": "How rounded is it?", "type": "single"}, "T7": {"answers": [{"label": "Ring"}, {"label": "Lens or arc"}, {"label": "Disturbed"}, {"label": "Irregular"}, {"label": "Other"}, {"label": "Merger"}, {"label": "Dust lane"}], "question": "What are the odd features?", "type": "single"}, "T8": {"answers": [{"label": "Rounded"}, {"label": "Boxy"}, {"label": "No bulge"}], "question": "Does the galaxy have a bulge at its center? If so, what shape?", "type": "single"}, "T9": {"answers": [{"label": "Tight"}, {"label": "Medium"}, {"label": "Loose"}], "question": "How tightly wound do the spiral arms appear?", "type": "single"}}', 'api', '2026-01-01 12:00:00+00');
SELECT pg_catalog.setval('public.campaigns_id_seq', 1, true);
SELECT pg_catalog.setval('public.catalogue_faults_id_seq', 1, false);
SELECT pg_catalog.setval('public.catalogues_id_seq', 1, true);
SELECT pg_catalog.setval('public.cycles_id_seq', 2, true);
SELECT pg_catalog.setval('public.events_id_seq', 15, true);
SELECT pg_catalog.setval('public.models_id_seq', 1, true);
SELECT pg_catalog.setval('public.promotions_id_seq', 1, true);
SELECT pg_catalog.setval('public.subjects_id_seq', 20, true);
SELECT pg_catalog.setval('public.tokens_id_seq', 1, false);
SELECT pg_catalog.setval('public.training_snapshots_id_seq', 1, true);
SELECT pg_catalog.setval('public.web_sessions_id_seq', 1, false);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT pk_acquired PRIMARY KEY (cycle_id, "position");
ALTER TABLE ONLY public.acquisitions
    ADD CONSTRAINT pk_acquisitions PRIMARY KEY (cycle_id);
ALTER TABLE ONLY public.answered_requests
    ADD CONSTRAINT pk_answered_requests PRIMARY KEY (token_id, key);
ALTER TABLE ONLY public.call_totals
    ADD CONSTRAINT pk_call_totals PRIMARY KEY (adapter, call, outcome);
ALTER TABLE ONLY public.campaign_pauses
    ADD CONSTRAINT pk_campaign_pauses PRIMARY KEY (campaign_id);
ALTER TABLE ONLY public.campaign_versions
    ADD CONSTRAINT pk_campaign_versions PRIMARY KEY (campaign_id, version);
ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT pk_campaigns PRIMARY KEY (id);
ALTER TABLE ONLY public.catalogue_faults
    ADD CONSTRAINT pk_catalogue_faults PRIMARY KEY (id);
ALTER TABLE ONLY public.catalogues
    ADD CONSTRAINT pk_catalogues PRIMARY KEY (id);
ALTER TABLE ONLY public.classifications
    ADD CONSTRAINT pk_classifications PRIMARY KEY (campaign_id, classification_id);
ALTER TABLE ONLY public.cycle_runs
    ADD CONSTRAINT pk_cycle_runs PRIMARY KEY (cycle_id, run_id);
ALTER TABLE ONLY public.cycle_statistics
    ADD CONSTRAINT pk_cycle_statistics PRIMARY KEY (cycle_id, kind);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT pk_cycles PRIMARY KEY (id);
ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT pk_evaluations PRIMARY KEY (cycle_id, model_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (id);
ALTER TABLE ONLY public.exports
    ADD CONSTRAINT pk_exports PRIMARY KEY (campaign_id, digest);
ALTER TABLE ONLY public.galaxies
    ADD CONSTRAINT pk_galaxies PRIMARY KEY (catalogue_id, "row");
ALTER TABLE ONLY public.gate_decisions
    ADD CONSTRAINT pk_gate_decisions PRIMARY KEY (cycle_id);
ALTER TABLE ONLY public.image_shards
    ADD CONSTRAINT pk_image_shards PRIMARY KEY (catalogue_id, pack, index);
ALTER TABLE ONLY public.ingest_cursors
    ADD CONSTRAINT pk_ingest_cursors PRIMARY KEY (campaign_id, source);
ALTER TABLE ONLY public.ingest_hours
    ADD CONSTRAINT pk_ingest_hours PRIMARY KEY (campaign_id, hour, source);
ALTER TABLE ONLY public.ingest_totals
    ADD CONSTRAINT pk_ingest_totals PRIMARY KEY (campaign_id, source);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT pk_leases PRIMARY KEY (campaign_id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (id);
ALTER TABLE ONLY public.posterior_shards
    ADD CONSTRAINT pk_posterior_shards PRIMARY KEY (model_id, catalogue_id, scope, index);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT pk_promotions PRIMARY KEY (id);
ALTER TABLE ONLY public.quarantined_rows
    ADD CONSTRAINT pk_quarantined_rows PRIMARY KEY (campaign_id, digest);
ALTER TABLE ONLY public.reductions
    ADD CONSTRAINT pk_reductions PRIMARY KEY (campaign_id, workflow_id, zooniverse_subject_id, reducer_key);
ALTER TABLE ONLY public.sent_steps
    ADD CONSTRAINT pk_sent_steps PRIMARY KEY (campaign_id);
ALTER TABLE ONLY public.subject_counts
    ADD CONSTRAINT pk_subject_counts PRIMARY KEY (campaign_id, state, slot);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT pk_subjects PRIMARY KEY (id);
ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT pk_tallies PRIMARY KEY (campaign_id, galaxy_id);
ALTER TABLE ONLY public.tally_faults
    ADD CONSTRAINT pk_tally_faults PRIMARY KEY (campaign_id, galaxy_id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT pk_tokens PRIMARY KEY (id);
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT pk_training_snapshots PRIMARY KEY (id);
ALTER TABLE ONLY public.web_sessions
    ADD CONSTRAINT pk_web_sessions PRIMARY KEY (id);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT pk_webhooks PRIMARY KEY (campaign_id);
ALTER TABLE ONLY public.workflow_versions
    ADD CONSTRAINT pk_workflow_versions PRIMARY KEY (campaign_id, workflow_id, version);
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT uq_acquired_cycle_id_arm_rank UNIQUE (cycle_id, arm, rank);
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT uq_acquired_cycle_id_galaxy_id UNIQUE (cycle_id, galaxy_id);
ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT uq_campaigns_name UNIQUE (name);
ALTER TABLE ONLY public.catalogues
    ADD CONSTRAINT uq_catalogues_campaign_id_digest UNIQUE (campaign_id, digest);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT uq_cycles_campaign_id_number UNIQUE (campaign_id, number);
ALTER TABLE ONLY public.galaxies
    ADD CONSTRAINT uq_galaxies_catalogue_id_galaxy_id UNIQUE (catalogue_id, galaxy_id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_cycle_id UNIQUE (cycle_id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT uq_subjects_campaign_id_galaxy_id UNIQUE (campaign_id, galaxy_id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT uq_subjects_campaign_id_zooniverse_id UNIQUE (campaign_id, zooniverse_id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT uq_subjects_key UNIQUE (key);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT uq_tokens_digest UNIQUE (digest);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT uq_tokens_name UNIQUE (name);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT uq_tokens_previous_digest UNIQUE (previous_digest);
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT uq_training_snapshots_cycle_id UNIQUE (cycle_id);
ALTER TABLE ONLY public.web_sessions
    ADD CONSTRAINT uq_web_sessions_digest UNIQUE (digest);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT uq_webhooks_key UNIQUE (key);
CREATE INDEX ix_catalogue_faults_catalogue_id ON public.catalogue_faults USING btree (catalogue_id);
CREATE INDEX ix_classifications_campaign_id_galaxy_id ON public.classifications USING btree (campaign_id, galaxy_id);
CREATE INDEX ix_classifications_waiting ON public.classifications USING btree (campaign_id, classification_id) WHERE (verdict = ANY (ARRAY['quarantined'::text, 'unknown-subject'::text]));
CREATE INDEX ix_cycle_runs_newest ON public.cycle_runs USING btree (cycle_id, flow, began_at);
CREATE INDEX ix_events_campaign_id_id ON public.events USING btree (campaign_id, id);
CREATE INDEX ix_events_cycle_id_id ON public.events USING btree (cycle_id, id);
CREATE INDEX ix_models_campaign_id ON public.models USING btree (campaign_id);
CREATE INDEX ix_promotions_campaign_id ON public.promotions USING btree (campaign_id);
CREATE INDEX ix_quarantined_rows_campaign_id_classification_id ON public.quarantined_rows USING btree (campaign_id, classification_id);
CREATE INDEX ix_subjects_campaign_id_state ON public.subjects USING btree (campaign_id, state);
CREATE INDEX ix_subjects_cycle_id ON public.subjects USING btree (cycle_id);
CREATE INDEX ix_web_sessions_token_id ON public.web_sessions USING btree (token_id);
CREATE UNIQUE INDEX uq_cycles_open ON public.cycles USING btree (campaign_id) WHERE (state <> 'done'::text);
CREATE UNIQUE INDEX uq_models_champion ON public.models USING btree (campaign_id) WHERE (state = 'champion'::text);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
CREATE TRIGGER count_hours AFTER INSERT ON public.classifications REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION public.count_ingest_hours();
CREATE TRIGGER count_moved AFTER UPDATE ON public.subjects REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.count_moved_subjects();
CREATE TRIGGER count_new AFTER INSERT ON public.subjects REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.count_new_subjects();
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON public.subjects FOR EACH STATEMENT EXECUTE FUNCTION public.keep_subjects();
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT fk_acquired_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.acquisitions(cycle_id);
ALTER TABLE ONLY public.acquisitions
    ADD CONSTRAINT fk_acquisitions_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.answered_requests
    ADD CONSTRAINT fk_answered_requests_token_id FOREIGN KEY (token_id) REFERENCES public.tokens(id);
ALTER TABLE ONLY public.campaign_pauses
    ADD CONSTRAINT fk_campaign_pauses_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.campaign_versions
    ADD CONSTRAINT fk_campaign_versions_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.catalogue_faults
    ADD CONSTRAINT fk_catalogue_faults_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.catalogues
    ADD CONSTRAINT fk_catalogues_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.classifications
    ADD CONSTRAINT fk_classifications_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.cycle_runs
    ADD CONSTRAINT fk_cycle_runs_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.cycle_statistics
    ADD CONSTRAINT fk_cycle_statistics_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT fk_cycles_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT fk_cycles_campaign_id_campaign_version FOREIGN KEY (campaign_id, campaign_version) REFERENCES public.campaign_versions(campaign_id, version);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT fk_cycles_candidate_id FOREIGN KEY (candidate_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT fk_cycles_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT fk_cycles_champion_id FOREIGN KEY (champion_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT fk_evaluations_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT fk_evaluations_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.exports
    ADD CONSTRAINT fk_exports_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.galaxies
    ADD CONSTRAINT fk_galaxies_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.gate_decisions
    ADD CONSTRAINT fk_gate_decisions_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.image_shards
    ADD CONSTRAINT fk_image_shards_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.ingest_cursors
    ADD CONSTRAINT fk_ingest_cursors_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.ingest_hours
    ADD CONSTRAINT fk_ingest_hours_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.ingest_totals
    ADD CONSTRAINT fk_ingest_totals_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT fk_leases_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT fk_models_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT fk_models_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT fk_models_snapshot_id FOREIGN KEY (snapshot_id) REFERENCES public.training_snapshots(id);
ALTER TABLE ONLY public.posterior_shards
    ADD CONSTRAINT fk_posterior_shards_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.posterior_shards
    ADD CONSTRAINT fk_posterior_shards_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT fk_promotions_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT fk_promotions_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT fk_promotions_replaced_id FOREIGN KEY (replaced_id) REFERENCES public.models(id);
ALTER TABLE ONLY public.quarantined_rows
    ADD CONSTRAINT fk_quarantined_rows_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.reductions
    ADD CONSTRAINT fk_reductions_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.sent_steps
    ADD CONSTRAINT fk_sent_steps_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.sent_steps
    ADD CONSTRAINT fk_sent_steps_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.subject_counts
    ADD CONSTRAINT fk_subject_counts_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT fk_subjects_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT fk_subjects_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT fk_tallies_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.tally_faults
    ADD CONSTRAINT fk_tally_faults_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT fk_tokens_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT fk_training_snapshots_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.web_sessions
    ADD CONSTRAINT fk_web_sessions_token_id FOREIGN KEY (token_id) REFERENCES public.tokens(id);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT fk_webhooks_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.workflow_versions
    ADD CONSTRAINT fk_workflow_versions_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
