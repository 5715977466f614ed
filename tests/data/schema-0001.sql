-- A small rehearsal on a synthetic sky, in the schema of the first release (revision 0001): rows in every table.
-- Written by pg_dump --inserts; tests/migrations/test_upgrade.py brings it forward. Never edit: released databases are not.
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
    CONSTRAINT ck_acquired_arm CHECK ((arm = ANY (ARRAY['evaluation'::text, 'informative'::text, 'random'::text]))),
    CONSTRAINT ck_acquired_inclusion_probability CHECK (((inclusion_probability >= (0)::double precision) AND (inclusion_probability <= (1)::double precision))),
    CONSTRAINT ck_acquired_score_nats CHECK (((score_nats IS NOT NULL) = (arm = 'informative'::text)))
);
CREATE TABLE public.acquisitions (
    cycle_id bigint NOT NULL,
    n_votes integer NOT NULL,
    policy jsonb NOT NULL,
    seed bigint NOT NULL,
    offered integer NOT NULL,
    eligible integer NOT NULL,
    eligible_members integer NOT NULL,
    excluded jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_acquisitions_n_votes CHECK ((n_votes >= 1)),
    CONSTRAINT ck_acquisitions_pool CHECK (((offered >= eligible) AND (eligible >= eligible_members)))
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
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
    CONSTRAINT ck_classifications_verdict CHECK ((verdict = ANY (ARRAY['counted'::text, 'duplicate-send'::text, 'incomplete'::text, 'not-live'::text, 'quarantined'::text, 'repeat'::text, 'seen-before'::text, 'unknown-subject'::text, 'wrong-workflow'::text])))
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
    column_index smallint NOT NULL,
    votes integer NOT NULL,
    CONSTRAINT ck_tallies_votes CHECK ((votes > 0))
);
CREATE TABLE public.tally_totals (
    campaign_id bigint NOT NULL,
    galaxy_id text NOT NULL COLLATE pg_catalog."C",
    classifications integer NOT NULL,
    CONSTRAINT ck_tally_totals_counts CHECK ((classifications >= 0))
);
CREATE TABLE public.training_snapshots (
    id bigint NOT NULL,
    cycle_id bigint NOT NULL,
    key text NOT NULL,
    digest text NOT NULL,
    n_galaxies integer NOT NULL,
    n_votes bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_training_snapshots_counts CHECK (((n_galaxies >= 0) AND (n_votes >= 0)))
);
ALTER TABLE public.training_snapshots ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.training_snapshots_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO public.acquired VALUES
	(1, 0, 'sky0-0000003', 'evaluation', NULL, 1, 1),
	(1, 1, 'sky0-0000008', 'evaluation', NULL, 1, 2),
	(1, 2, 'sky0-0000000', 'evaluation', NULL, 1, 3),
	(1, 3, 'sky0-0000009', 'evaluation', NULL, 1, 4),
	(1, 4, 'sky0-0000010', 'evaluation', NULL, 1, 5),
	(1, 5, 'sky0-0000013', 'evaluation', NULL, 1, 6),
	(1, 6, 'sky0-0000002', 'random', NULL, 1, 1),
	(1, 7, 'sky0-0000004', 'random', NULL, 1, 2),
	(1, 8, 'sky0-0000016', 'random', NULL, 1, 3),
	(1, 9, 'sky0-0000012', 'random', NULL, 1, 4),
	(1, 10, 'sky0-0000006', 'random', NULL, 1, 5),
	(1, 11, 'sky0-0000007', 'random', NULL, 1, 6),
	(1, 12, 'sky0-0000017', 'random', NULL, 1, 7),
	(1, 13, 'sky0-0000018', 'random', NULL, 1, 8),
	(1, 14, 'sky0-0000019', 'random', NULL, 1, 9),
	(1, 15, 'sky0-0000011', 'random', NULL, 1, 10),
	(1, 16, 'sky0-0000005', 'random', NULL, 1, 11),
	(1, 17, 'sky0-0000001', 'random', NULL, 1, 12),
	(1, 18, 'sky0-0000015', 'random', NULL, 1, 13),
	(1, 19, 'sky0-0000014', 'random', NULL, 1, 14);
INSERT INTO public.acquisitions VALUES
	(1, 20, '{"beta": 1.0, "rule": "top", "random": 16, "evaluation": 20, "informative": 0, "members_in_random": false}', 1257548875868809932, 20, 20, 6, '{}', '2026-11-22 04:01:17.82636+00'),
	(2, 20, '{"beta": 1.0, "rule": "power", "random": 1, "evaluation": 0, "informative": 7, "members_in_random": true}', 6406446044727233299, 20, 0, 0, '{"live": 20}', '2026-11-22 04:01:28.841773+00');
INSERT INTO public.alembic_version VALUES
	('0001');
INSERT INTO public.campaign_versions VALUES
	(1, 1, '9fecdf691945cf185644c73c932ec764572e8346d977fdf0620a192e8f6f400d', '{"gate": {"repeats": 2000, "confidence": 0.95, "min_galaxies": 100, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "name": "rehearsal", "seed": 0, "tree": "gz2", "images": {"size_px": 64, "channels": 1, "shard_galaxies": 512}, "counting": {"launched_at": null, "min_seconds": 0.0, "after_retirement": "counted"}, "decoding": [], "training": {"steps": 40, "network": "compact", "threads": 2, "warm_start": false, "min_new_votes": 8, "batch_galaxies": 64}, "collecting": {"votes_share": 1.0, "deadline_hours": 24.0}, "evaluation": {"answer": "smooth-or-featured_smooth", "fraction": 0.2}, "hold_hours": 0.0, "prediction": {"draws": 30}, "zooniverse": {"mode": "upload", "tiers": [], "endpoint": "standin", "project_id": 1, "retirement": "panoptes", "subject_set": "alservice active", "workflow_id": 10, "pool_id_field": "#survey_id", "pool_subject_set": null}, "acquisition": {"beta": 1.0, "policy": "power", "random_share": 0.15, "batch_galaxies": 8, "initial_galaxies": 16, "question_weights": {}, "votes_per_galaxy": 20, "initial_evaluation_galaxies": 20}}', '2026-11-22 04:01:13.741499+00');
INSERT INTO public.campaigns OVERRIDING SYSTEM VALUE VALUES
	(1, 'rehearsal');
INSERT INTO public.catalogue_faults OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 21, 'broken', 'image', 'truncated');
INSERT INTO public.catalogues OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 'synthetic sky, 20 galaxies, seed 0', '4f97e3ab583ac7587c26a18dfc1598c7e6f38b3befe0fb93a038c7373d4a3aa0', 20, 0, 'recorded-votes/82/82958c77e7019e93a446f5c3a7a0b80767d875ceec92644fe002f7f937be9a4a.parquet', '2026-11-22 04:01:16.175715+00');
INSERT INTO public.classifications VALUES
	(1, 500000004, 10, '2.2', 100000001, NULL, '30ed5072c2a5d28649522def25b73579351e4119846a5d7e3842785ca52aa164', '2026-11-22T04:00:32.806Z', '2026-11-22T04:00:56.823Z', false, true, '2026-11-22 04:01:18.489+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 1}]', 'sky0-0000000', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-11-22 04:01:19.137091+00'),
	(1, 500000005, 10, '2.2', 100000002, NULL, '5df16b2dc6e17bafda82ade0c10ea89e80a1298bfd14a51810db2b62c4aeb56a', '2026-11-22T04:00:39.034Z', '2026-11-22T04:00:50.564Z', false, true, '2026-11-22 04:01:18.49+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 1}]', 'sky0-0000001', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-11-22 04:01:19.137091+00'),
	(1, 500000007, 10, '2.2', 100000002, NULL, '1e647a29281f4bec6c60f8c7a1cce96c892a35dd1a68934cb9f431305989a898', '2026-11-22T04:00:45.486Z', '2026-11-22T04:01:05.592Z', false, true, '2026-11-22 04:01:18.492+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 1}]', 'sky0-0000001', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-11-22 04:01:19.137091+00'),
	(1, 500000009, 10, '2.2', 100000001, NULL, '4c8a40c6262fbea45eb7101635850fb25f171cba9e981ab3ee9457bab2c8bccf', '2026-11-22T04:00:47.301Z', '2026-11-22T04:01:04.569Z', false, true, '2026-11-22 04:01:18.493+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 2}]', 'sky0-0000000', '{0,14,17}', 0, NULL, 'counted', 'api', '2026-11-22 04:01:19.137091+00'),
	(1, 500000010, 10, '2.2', 100000002, NULL, '9e7964716778387ee4fca2d37cbcd64085f67fd9e094cb1ea0f51c328d7faafd', '2026-11-22T04:00:32.105Z', '2026-11-22T04:00:55.876Z', false, true, '2026-11-22 04:01:18.494+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 1}]', 'sky0-0000001', '{0,14,16}', 0, NULL, 'counted', 'api', '2026-11-22 04:01:19.137091+00'),
	(1, 500000003, 10, '2.2', 100000001, NULL, '707f2428a8880184cc3bd167bdc5e135e7ce9f46a09b8d299c4dba1c0e6aa546', '2026-11-22T03:59:58.246Z', '2026-11-22T04:00:24.197Z', false, true, '2026-11-22 04:01:18.488+00', '[{"task": "T0", "taskType": "single", "value": 0}, {"task": "T5", "taskType": "single", "value": 1}, {"task": "T6", "taskType": "single", "value": 1}]', NULL, '{}', 0, 'version 9.9 is not known', 'quarantined', 'api', '2026-11-22 04:01:19.137091+00');
INSERT INTO public.cycles OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 1, 1, 0, 'done', NULL, NULL, 1, '2026-11-23 04:01:18.326124+00', '2026-11-22 04:01:16.69428+00', '2026-11-22 04:01:27.052128+00'),
	(2, 1, 1, 1, 1, 'done', NULL, 1, NULL, '2026-11-23 04:01:28.996577+00', '2026-11-22 04:01:27.900753+00', '2026-11-22 04:01:30.078172+00');
INSERT INTO public.evaluations VALUES
	(1, 1, '{"answers": [{"rmse": 0.4032324805644293, "column": "smooth-or-featured_smooth", "n_judged": 6, "crps_votes": 4.045357088660345, "coverage_error": [-0.7470818227670233, 1.295183110364115, 0.07665795161941258, 0.13475160304410744]}, {"rmse": 0.3429617717253329, "column": "smooth-or-featured_featured-or-disk", "n_judged": 6, "crps_votes": 3.377428101705847, "coverage_error": [null, 0.5577362477255633, 0.10457633423370467, 0.15188128169467063]}, {"rmse": 0.07340386599400008, "column": "smooth-or-featured_artifact", "n_judged": 6, "crps_votes": 0.8263479309496663, "coverage_error": [0.6037241481861845, 0.4429112496308014, 0.1720498209147115, -0.009467883148771486]}, {"rmse": 0.8231626773668294, "column": "disk-edge-on_yes", "n_judged": 1, "crps_votes": 13.989618101490892, "coverage_error": [null, null, null, null]}, {"rmse": 0.8231626773668294, "column": "disk-edge-on_no", "n_judged": 1, "crps_votes": 13.989618101491153, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bar_yes", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bar_no", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "has-spiral-arms_yes", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "has-spiral-arms_no", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bulge-size_no", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bulge-size_just-noticeable", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bulge-size_obvious", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "bulge-size_dominant", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": 0.2683253790432883, "column": "something-odd_yes", "n_judged": 6, "crps_votes": 2.1346348033721783, "coverage_error": [null, null, -0.5621221190209097, -0.2144357895329354]}, {"rmse": 0.2683253790432883, "column": "something-odd_no", "n_judged": 6, "crps_votes": 2.134634803372139, "coverage_error": [null, null, -0.5621221190209096, -0.21443578953293527]}, {"rmse": 0.45153495641206076, "column": "how-rounded_round", "n_judged": 5, "crps_votes": 4.706565286547205, "coverage_error": [-0.6892771923657239, -0.6391895080753716, 0.24952532887206327, 0.521698965429994]}, {"rmse": 0.44288208045834965, "column": "how-rounded_in-between", "n_judged": 5, "crps_votes": 5.374079058175919, "coverage_error": [null, null, 2.054824031985839, 1.2064570950606859]}, {"rmse": 0.141278526401844, "column": "how-rounded_cigar-shaped", "n_judged": 5, "crps_votes": 1.6025721468344707, "coverage_error": [null, 0.8807176312416818, 0.5396503005182304, 0.1889846625165228]}, {"rmse": null, "column": "odd-feature_ring", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_lens-or-arc", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_disturbed", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_irregular", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_other", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_merger", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "odd-feature_dust-lane", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": 0.6154272744311627, "column": "edge-on-bulge_rounded", "n_judged": 1, "crps_votes": 6.027908543090474, "coverage_error": [null, null, null, null]}, {"rmse": 0.01903161157357227, "column": "edge-on-bulge_boxy", "n_judged": 1, "crps_votes": 0.00513242659355078, "coverage_error": [-0.025156950555046076, -0.025156950555046076, -0.021773468539999286, -0.019498325135154926]}, {"rmse": 0.634458886004735, "column": "edge-on-bulge_none", "n_judged": 1, "crps_votes": 6.362774286222137, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-winding_tight", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-winding_medium", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-winding_loose", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_1", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_2", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_3", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_4", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_more-than-4", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}, {"rmse": null, "column": "spiral-arm-count_cant-tell", "n_judged": 0, "crps_votes": null, "coverage_error": [null, null, null, null]}], "n_votes": 399, "questions": [{"rmse": 0.3085489360376985, "n_votes": 120, "n_judged": 6, "question": "smooth-or-featured", "n_galaxies": 6, "nll_per_vote": 0.2661254442849813, "coverage_error": [0.5394978758210263, 0.6705799958253473, 0.1177613689226097, 0.0860223203000785]}, {"rmse": 0.8231626773668294, "n_votes": 23, "n_judged": 1, "question": "disk-edge-on", "n_galaxies": 4, "nll_per_vote": 0.5520704861736718, "coverage_error": [null, null, null, null]}, {"rmse": null, "n_votes": 9, "n_judged": 0, "question": "bar", "n_galaxies": 4, "nll_per_vote": 0.04217367063369695, "coverage_error": [null, null, null, null]}, {"rmse": null, "n_votes": 9, "n_judged": 0, "question": "has-spiral-arms", "n_galaxies": 4, "nll_per_vote": 0.28620033603721856, "coverage_error": [null, null, null, null]}, {"rmse": null, "n_votes": 9, "n_judged": 0, "question": "bulge-size", "n_galaxies": 4, "nll_per_vote": 0.9704247580387277, "coverage_error": [null, null, null, null]}, {"rmse": 0.2683253790432883, "n_votes": 115, "n_judged": 6, "question": "something-odd", "n_galaxies": 6, "nll_per_vote": 0.0888178159616334, "coverage_error": [null, null, -0.5621221190209097, -0.2144357895329354]}, {"rmse": 0.3741603827573742, "n_votes": 92, "n_judged": 5, "question": "how-rounded", "n_galaxies": 5, "nll_per_vote": 0.2855893829588177, "coverage_error": [-0.20499385077053267, 0.3162287557468846, 0.6317644171652456, 0.5259944151641606]}, {"rmse": null, "n_votes": 6, "n_judged": 0, "question": "odd-feature", "n_galaxies": 2, "nll_per_vote": 1.3272478372509746, "coverage_error": [null, null, null, null]}, {"rmse": 0.510441315720435, "n_votes": 14, "n_judged": 1, "question": "edge-on-bulge", "n_galaxies": 1, "nll_per_vote": 0.2417140865140294, "coverage_error": [-0.016559863043069445, 0.0016520917517861555, 0.0300827195554898, 0.08289303260115055]}, {"rmse": null, "n_votes": 1, "n_judged": 0, "question": "spiral-winding", "n_galaxies": 1, "nll_per_vote": 0.8705815854337884, "coverage_error": [null, null, null, null]}, {"rmse": null, "n_votes": 1, "n_judged": 0, "question": "spiral-arm-count", "n_galaxies": 1, "nll_per_vote": 1.1367654024235208, "coverage_error": [null, null, null, null]}], "n_galaxies": 6, "tolerances": [0.02, 0.05, 0.1, 0.2], "nll_per_vote": {"low": 0.17184738861787474, "high": 0.3688419805011027, "value": 0.2660776106990918}}', '2026-11-22 04:01:26.686951+00');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 1, '2026-11-22 04:01:16.69428+00', 'prefect:successful-chipmunk', 'cycle.started', '{"number": 0, "version": 1, "champion": null, "catalogue": 1, "cycle_kind": "full"}'),
	(2, 1, 1, '2026-11-22 04:01:17.051613+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "acquiring", "from": "planned", "image_shards": 1}'),
	(3, 1, 1, '2026-11-22 04:01:17.831876+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "publishing", "from": "acquiring", "random": 14, "evaluation": 6}'),
	(4, 1, 1, '2026-11-22 04:01:18.326486+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "collecting", "from": "publishing", "live": 20, "sent": 20, "failed": 0, "adopted": 0, "requested": 20, "surplus_removed": []}'),
	(5, 1, 1, '2026-11-22 04:01:19.364485+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "training", "new": 401, "from": "collecting", "read": 401, "counted": 400, "is_over": true, "snapshot": "4564de00e6ee30455d31c1e2bc3fcc68647c5af425bc38c1d93073a458d882ef", "new_votes": 1476, "requested": 400}'),
	(6, 1, 1, '2026-11-22 04:01:26.316018+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "evaluating", "from": "training", "model": "f175d3fdeb6ccc9b9d23fba7cac15e76da7cda4517f392efaa07dd1dc6a94015"}'),
	(7, 1, 1, '2026-11-22 04:01:26.707938+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "gated", "from": "evaluating", "galaxies": 6, "nll_per_vote": 0.2660776106990918}'),
	(8, 1, 1, '2026-11-22 04:01:26.856214+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "promoted", "from": "gated", "verdict": "promote"}'),
	(9, 1, 1, '2026-11-22 04:01:26.856214+00', 'prefect:successful-chipmunk', 'gate.decided', '{"checks": [{"low": null, "high": null, "name": "first-model", "value": null, "detail": "There is no champion yet.", "margin": null, "passed": true}], "policy": {"repeats": 2000, "confidence": 0.95, "min_galaxies": 100, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "n_votes": 399, "verdict": "promote", "n_galaxies": 6}'),
	(10, 1, 1, '2026-11-22 04:01:26.856214+00', 'prefect:successful-chipmunk', 'model.moved', '{"to": "champion", "from": "candidate", "model": 1}'),
	(11, 1, 1, '2026-11-22 04:01:27.052128+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "done", "from": "promoted"}'),
	(12, 1, 2, '2026-11-22 04:01:27.900753+00', 'prefect:successful-chipmunk', 'cycle.started', '{"number": 1, "version": 1, "champion": 1, "catalogue": 1, "cycle_kind": "full"}'),
	(13, 1, 2, '2026-11-22 04:01:28.105584+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "predicting", "from": "planned", "image_shards": 1}'),
	(14, 1, 2, '2026-11-22 04:01:28.520786+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "acquiring", "done": 20, "from": "predicting", "failed": 0, "requested": 20}'),
	(15, 1, 2, '2026-11-22 04:01:28.846068+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "publishing", "from": "acquiring"}'),
	(16, 1, 2, '2026-11-22 04:01:28.999979+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "collecting", "from": "publishing", "live": 0, "sent": 0, "failed": 0, "adopted": 0, "requested": 0, "surplus_removed": []}'),
	(17, 1, 2, '2026-11-22 04:01:29.907927+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "kept", "new": 0, "from": "collecting", "read": 401, "counted": 0, "is_over": true, "snapshot": "4564de00e6ee30455d31c1e2bc3fcc68647c5af425bc38c1d93073a458d882ef", "new_votes": 0, "requested": 0}'),
	(18, 1, 2, '2026-11-22 04:01:30.078172+00', 'prefect:successful-chipmunk', 'cycle.moved', '{"to": "done", "from": "kept"}');
INSERT INTO public.galaxies VALUES
	(1, 0, 'sky0-0000000', 229.30620743572354, -27.41463686947753, 'images/4f/4f996510f022d82ff32a7daf9b687c9b65fd0e096400ce561523065f47de019f.jpg', true, true),
	(1, 1, 'sky0-0000001', 320.3059648601283, 6.561873401667777, 'images/f4/f437790cc36727707575c506dd9f9b67703aef2dfe00751ec5d0c97ccdff770a.jpg', true, false),
	(1, 2, 'sky0-0000002', 29.096654102347493, -11.25199171919744, 'images/b4/b4326f372a491f1c7f6635328398dc72f113b626e8cff2329d9cb788c052ad75.jpg', true, false),
	(1, 3, 'sky0-0000003', 322.19018668434194, 46.122956237371014, 'images/da/dadfe815648689ad0bb1154fcbf8ab5b954cc3b9a2cb6a97352034e69ea475ac.jpg', true, true),
	(1, 4, 'sky0-0000004', 317.90589681878254, -32.87545103896799, 'images/b3/b36c266d47e2955789d9a2894e21ed000eaef7aaa0c6e68a0e1d1a558b4d6e5a.jpg', true, false),
	(1, 5, 'sky0-0000005', 137.56899646732614, 5.4799903569521575, 'images/4f/4f60443b1e660216293466954d7aaf66b3ba30b739051ef3a07948e09c51b434.jpg', true, false),
	(1, 6, 'sky0-0000006', 148.3532451005601, -34.98833979014043, 'images/34/34d04b2a0ebe3d24324e2759055cd082f24a15f5fa22756c3ff89b5f456dad03.jpg', true, false),
	(1, 7, 'sky0-0000007', 13.989982355105779, 33.65941320773087, 'images/ad/ad545803265a8ee0998957e67705e3dc6a7cde7d170c085df5b22f9017c1deec.jpg', true, false),
	(1, 8, 'sky0-0000008', 273.487230742813, 33.49026979273061, 'images/44/44416705a6038a101e254f18b72b66c2a0f71c01230a97b52f94a48b65bd5f7a.jpg', true, true),
	(1, 9, 'sky0-0000009', 204.1531174380862, 75.96211268600852, 'images/48/48662dc16fad73b5995922f2ade9ebf23545cf28a37f7e24fd53d75f73621cad.jpg', true, true),
	(1, 10, 'sky0-0000010', 179.48941060924636, -36.1095948367006, 'images/fa/fa319871078a02e1f02979f9a4d095905d5075cdc437d848e5da66bfab934cd9.jpg', true, true),
	(1, 11, 'sky0-0000011', 187.1633153620604, -40.24734966869613, 'images/b0/b080b6b7c4b4367c8d05dcbe8340e992d2a889d2dd09524de05d39aba8d44da1.jpg', true, false),
	(1, 12, 'sky0-0000012', 152.5181721738189, 15.142020506456019, 'images/d0/d09c498029abca97527624c6d5b678d62b0473e5bedaf7a8573a5f95df251aac.jpg', true, false),
	(1, 13, 'sky0-0000013', 207.82670924513883, -50.770678626266104, 'images/74/745d7ffc3b11c59db95a99e3423d2a2979185101dd67acc3e2f1e505513a1686.jpg', true, true),
	(1, 14, 'sky0-0000014', 199.64065711400772, -42.783138153361364, 'images/e9/e9c8d234691771616e212d2bffc9a1986e9b471e1d3a1ada6b7c7bf0a4dc5843.jpg', true, false),
	(1, 15, 'sky0-0000015', 223.9272347229453, -24.70871562390453, 'images/4c/4cd0868223d19de4166a671fef5e4e10d3c162e0e6606500b1e6d8686ff4c341.jpg', true, false),
	(1, 16, 'sky0-0000016', 280.45512393595726, 8.262472753958933, 'images/bb/bb79004de0fda9d760bb0443a2f18182dccbb5c8088f4717dd596372cd821bfb.jpg', true, false),
	(1, 17, 'sky0-0000017', 129.85930854478946, 48.879623493314426, 'images/d6/d60951c561284ce605a2e610b769d63df142a49b6355a4eac66fc5bf799535f5.jpg', true, false),
	(1, 18, 'sky0-0000018', 324.1134384914468, -36.99262684511605, 'images/3e/3ec99c95258660f0d8fba4b33e06a2dd30362a5ae5ef245ee257adc813dc916b.jpg', true, false),
	(1, 19, 'sky0-0000019', 51.449621975941994, 10.662407009325822, 'images/36/3675e3e4a813e831d3ca1041bc573543724db06ac17e34b5b11ccf757b348aec.jpg', true, false);
INSERT INTO public.gate_decisions VALUES
	(1, 'promote', '{"checks": [{"low": null, "high": null, "name": "first-model", "value": null, "detail": "There is no champion yet.", "margin": null, "passed": true}], "policy": {"repeats": 2000, "confidence": 0.95, "min_galaxies": 100, "max_rmse_increase": 0.02, "coverage_tolerance": 0.1, "margin_nats_per_vote": 0.002, "max_coverage_increase": 0.2, "min_question_galaxies": 100}, "n_votes": 399, "verdict": "promote", "n_galaxies": 6}', 'prefect:successful-chipmunk', '2026-11-22 04:01:26.856214+00');
INSERT INTO public.image_shards VALUES
	(1, '64px-1c-512', 0, 'packs/ef/efbe9a41a2d59a21b6af6baa2033c98045ef9353b600b3cf6ba9cb27338548cc.safetensors', 20, 0);
INSERT INTO public.ingest_cursors VALUES
	(1, 'api', 500000401, '2026-11-22 04:01:19.32029+00');
INSERT INTO public.models OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 1, 1, 'models/f1/f175d3fdeb6ccc9b9d23fba7cac15e76da7cda4517f392efaa07dd1dc6a94015.safetensors', 'f175d3fdeb6ccc9b9d23fba7cac15e76da7cda4517f392efaa07dd1dc6a94015', 'champion', '{"seed": 2132375230955523101, "tree": "gz2", "history": [{"step": 4.0, "train": 30.991454124450684, "hold_out": 20.985759735107422}, {"step": 8.0, "train": 20.189504623413086, "hold_out": 16.282747268676758}, {"step": 12.0, "train": 17.160361289978027, "hold_out": 22.448505401611328}, {"step": 16.0, "train": 15.001591205596924, "hold_out": 24.013046264648438}, {"step": 20.0, "train": 14.035538911819458, "hold_out": 22.26950454711914}, {"step": 24.0, "train": 13.300092458724976, "hold_out": 23.448200225830078}, {"step": 28.0, "train": 12.800504922866821, "hold_out": 25.40276527404785}, {"step": 32.0, "train": 12.605114936828613, "hold_out": 27.90692138671875}, {"step": 36.0, "train": 12.512434005737305, "hold_out": 29.360971450805664}, {"step": 40.0, "train": 12.494073390960693, "hold_out": 29.939990997314453}], "n_votes": 1077, "network": {"name": "compact", "field": 1.0, "heads": 5, "dropout": 0.3, "channels": 1, "image_px": 64}, "training": {"seed": 2132375230955523101, "batch": 64, "looks": 10, "steps": 40, "average": 0.99, "network": {"name": "compact", "field": 1.0, "heads": 5, "dropout": 0.3, "channels": 1, "image_px": 64}, "threads": 2, "warm_up": 0.1, "hold_out": 0.1, "augmentation": {"zoom": 1.2, "shift": 0.02, "contrast": 0.05}, "weight_decay": 0.3, "learning_rate": 0.003}, "tree_hash": "51404bf353564202b1d3ef30d144d85cdd80182ae54207e1fe8fe3759b99b943", "n_galaxies": 14, "data_digest": "41ea8d820f7e3b4a6317797e195c4251e75773990f403a682c35101c6b6a4c69", "code_revision": "0.1.0+6cb8451a3a98.dirty"}', '2026-11-22 04:01:26.292075+00');
INSERT INTO public.posterior_shards VALUES
	(1, 1, 'evaluation', 0, 'posteriors/49/495670957972764f4b1b4e1b2da7ed2b03351dff5ef7653d5ec0fb121eb7839a.parquet', 6, 0),
	(1, 1, 'catalogue', 0, 'posteriors/b6/b6ddc36653cee7bb681ee7b3602694adcab1ea00100e00087487e3237600aaed.parquet', 20, 0);
INSERT INTO public.subjects OVERRIDING SYSTEM VALUE VALUES
	(5, 1, 1, 'sky0-0000004', 'f8c2b9e236f03156420a80c6fb4740c2', 'images/b3/b36c266d47e2955789d9a2894e21ed000eaef7aaa0c6e68a0e1d1a558b4d6e5a.jpg', 'live', 100000007, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(1, 1, 1, 'sky0-0000000', 'e59dabec6971f0ca38a85609993797b6', 'images/4f/4f996510f022d82ff32a7daf9b687c9b65fd0e096400ce561523065f47de019f.jpg', 'live', 100000001, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(3, 1, 1, 'sky0-0000002', '077f7c8541a514db95cb9afffe54f6c8', 'images/b4/b4326f372a491f1c7f6635328398dc72f113b626e8cff2329d9cb788c052ad75.jpg', 'live', 100000006, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(11, 1, 1, 'sky0-0000010', '5140608aca32bd4679238d3f4f9bcb3d', 'images/fa/fa319871078a02e1f02979f9a4d095905d5075cdc437d848e5da66bfab934cd9.jpg', 'live', 100000016, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(16, 1, 1, 'sky0-0000015', '3eafec60599bb82a29406f09fa4cc81f', 'images/4c/4cd0868223d19de4166a671fef5e4e10d3c162e0e6606500b1e6d8686ff4c341.jpg', 'live', 100000015, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(13, 1, 1, 'sky0-0000012', '37eff332304b20d0a1104b54e98a59ef', 'images/d0/d09c498029abca97527624c6d5b678d62b0473e5bedaf7a8573a5f95df251aac.jpg', 'live', 100000012, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(2, 1, 1, 'sky0-0000001', 'c05710f30d9f75706cf8a52c56182bb9', 'images/f4/f437790cc36727707575c506dd9f9b67703aef2dfe00751ec5d0c97ccdff770a.jpg', 'live', 100000002, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(4, 1, 1, 'sky0-0000003', 'fabfbaaa53a859c9414d32af9943dd7e', 'images/da/dadfe815648689ad0bb1154fcbf8ab5b954cc3b9a2cb6a97352034e69ea475ac.jpg', 'live', 100000003, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(6, 1, 1, 'sky0-0000005', '8c3c7e05ce8e0df00048ae749b877523', 'images/4f/4f60443b1e660216293466954d7aaf66b3ba30b739051ef3a07948e09c51b434.jpg', 'live', 100000004, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(15, 1, 1, 'sky0-0000014', 'faf464978446bc556626191bbb58957f', 'images/e9/e9c8d234691771616e212d2bffc9a1986e9b471e1d3a1ada6b7c7bf0a4dc5843.jpg', 'live', 100000014, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(7, 1, 1, 'sky0-0000006', 'f9b92cb92547bca41627ec578340fd63', 'images/34/34d04b2a0ebe3d24324e2759055cd082f24a15f5fa22756c3ff89b5f456dad03.jpg', 'live', 100000005, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(9, 1, 1, 'sky0-0000008', '05c26949e5521fcfaa86b4bfa65aaa37', 'images/44/44416705a6038a101e254f18b72b66c2a0f71c01230a97b52f94a48b65bd5f7a.jpg', 'live', 100000009, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(8, 1, 1, 'sky0-0000007', '5b6b9775698e43cbbe1078d727b021bc', 'images/ad/ad545803265a8ee0998957e67705e3dc6a7cde7d170c085df5b22f9017c1deec.jpg', 'live', 100000008, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(10, 1, 1, 'sky0-0000009', '25007a83a4ef1da1415049b447bb2633', 'images/48/48662dc16fad73b5995922f2ade9ebf23545cf28a37f7e24fd53d75f73621cad.jpg', 'live', 100000010, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(12, 1, 1, 'sky0-0000011', '8d5f608cc42faea5aab252ec436afcb7', 'images/b0/b080b6b7c4b4367c8d05dcbe8340e992d2a889d2dd09524de05d39aba8d44da1.jpg', 'live', 100000011, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(14, 1, 1, 'sky0-0000013', '7fa9b63b4c34898024ec853129411405', 'images/74/745d7ffc3b11c59db95a99e3423d2a2979185101dd67acc3e2f1e505513a1686.jpg', 'live', 100000013, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(17, 1, 1, 'sky0-0000016', '7f11bdc6e3d561c3a6c55c438b02a92c', 'images/bb/bb79004de0fda9d760bb0443a2f18182dccbb5c8088f4717dd596372cd821bfb.jpg', 'live', 100000017, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(19, 1, 1, 'sky0-0000018', '4d6610220292a47876d4ba57297e02c4', 'images/3e/3ec99c95258660f0d8fba4b33e06a2dd30362a5ae5ef245ee257adc813dc916b.jpg', 'live', 100000018, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(20, 1, 1, 'sky0-0000019', '93ac1dde2452cc569bb8f53aa0796e0a', 'images/36/3675e3e4a813e831d3ca1041bc573543724db06ac17e34b5b11ccf757b348aec.jpg', 'live', 100000019, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00'),
	(18, 1, 1, 'sky0-0000017', '3aa5bd1de85ac6a528bf283b028e2658', 'images/d6/d60951c561284ce605a2e610b769d63df142a49b6355a4eac66fc5bf799535f5.jpg', 'live', 100000020, 20, 1, NULL, '2026-11-22 04:01:17.950189+00', '2026-11-22 04:01:18.32118+00');
INSERT INTO public.tallies VALUES
	(1, 'sky0-0000000', 0, 19),
	(1, 'sky0-0000000', 1, 1),
	(1, 'sky0-0000000', 4, 1),
	(1, 'sky0-0000000', 6, 1),
	(1, 'sky0-0000000', 8, 1),
	(1, 'sky0-0000000', 11, 1),
	(1, 'sky0-0000000', 13, 3),
	(1, 'sky0-0000000', 14, 17),
	(1, 'sky0-0000000', 16, 15),
	(1, 'sky0-0000000', 17, 4),
	(1, 'sky0-0000000', 21, 1),
	(1, 'sky0-0000000', 22, 2),
	(1, 'sky0-0000001', 0, 16),
	(1, 'sky0-0000001', 1, 4),
	(1, 'sky0-0000001', 4, 4),
	(1, 'sky0-0000001', 5, 2),
	(1, 'sky0-0000001', 6, 2),
	(1, 'sky0-0000001', 8, 4),
	(1, 'sky0-0000001', 9, 2),
	(1, 'sky0-0000001', 10, 2),
	(1, 'sky0-0000001', 14, 20),
	(1, 'sky0-0000001', 16, 15),
	(1, 'sky0-0000001', 17, 1);
INSERT INTO public.tally_totals VALUES
	(1, 'sky0-0000000', 20),
	(1, 'sky0-0000001', 20);
INSERT INTO public.training_snapshots OVERRIDING SYSTEM VALUE VALUES
	(1, 1, 'tallies/8a/8af110e1ebd124409bd7ed32b71de5b8ebf7ab412d5d97ff102bc40a1957a656.parquet', '4564de00e6ee30455d31c1e2bc3fcc68647c5af425bc38c1d93073a458d882ef', 20, 1476, '2026-11-22 04:01:19.348467+00'),
	(2, 2, 'tallies/8a/8af110e1ebd124409bd7ed32b71de5b8ebf7ab412d5d97ff102bc40a1957a656.parquet', '4564de00e6ee30455d31c1e2bc3fcc68647c5af425bc38c1d93073a458d882ef', 20, 1476, '2026-11-22 04:01:29.864879+00');
SELECT pg_catalog.setval('public.campaigns_id_seq', 1, true);
SELECT pg_catalog.setval('public.catalogue_faults_id_seq', 1, true);
SELECT pg_catalog.setval('public.catalogues_id_seq', 1, true);
SELECT pg_catalog.setval('public.cycles_id_seq', 2, true);
SELECT pg_catalog.setval('public.events_id_seq', 18, true);
SELECT pg_catalog.setval('public.models_id_seq', 1, true);
SELECT pg_catalog.setval('public.subjects_id_seq', 40, true);
SELECT pg_catalog.setval('public.training_snapshots_id_seq', 2, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT pk_acquired PRIMARY KEY (cycle_id, "position");
ALTER TABLE ONLY public.acquisitions
    ADD CONSTRAINT pk_acquisitions PRIMARY KEY (cycle_id);
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
ALTER TABLE ONLY public.cycles
    ADD CONSTRAINT pk_cycles PRIMARY KEY (id);
ALTER TABLE ONLY public.evaluations
    ADD CONSTRAINT pk_evaluations PRIMARY KEY (cycle_id, model_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (id);
ALTER TABLE ONLY public.galaxies
    ADD CONSTRAINT pk_galaxies PRIMARY KEY (catalogue_id, "row");
ALTER TABLE ONLY public.gate_decisions
    ADD CONSTRAINT pk_gate_decisions PRIMARY KEY (cycle_id);
ALTER TABLE ONLY public.image_shards
    ADD CONSTRAINT pk_image_shards PRIMARY KEY (catalogue_id, pack, index);
ALTER TABLE ONLY public.ingest_cursors
    ADD CONSTRAINT pk_ingest_cursors PRIMARY KEY (campaign_id, source);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (id);
ALTER TABLE ONLY public.posterior_shards
    ADD CONSTRAINT pk_posterior_shards PRIMARY KEY (model_id, catalogue_id, scope, index);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT pk_subjects PRIMARY KEY (id);
ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT pk_tallies PRIMARY KEY (campaign_id, galaxy_id, column_index);
ALTER TABLE ONLY public.tally_totals
    ADD CONSTRAINT pk_tally_totals PRIMARY KEY (campaign_id, galaxy_id);
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT pk_training_snapshots PRIMARY KEY (id);
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
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT uq_training_snapshots_cycle_id UNIQUE (cycle_id);
CREATE INDEX ix_catalogue_faults_catalogue_id ON public.catalogue_faults USING btree (catalogue_id);
CREATE INDEX ix_classifications_campaign_id_galaxy_id ON public.classifications USING btree (campaign_id, galaxy_id);
CREATE INDEX ix_events_campaign_id_id ON public.events USING btree (campaign_id, id);
CREATE INDEX ix_models_campaign_id ON public.models USING btree (campaign_id);
CREATE INDEX ix_subjects_cycle_id ON public.subjects USING btree (cycle_id);
CREATE UNIQUE INDEX uq_cycles_open ON public.cycles USING btree (campaign_id) WHERE (state <> 'done'::text);
CREATE UNIQUE INDEX uq_models_champion ON public.models USING btree (campaign_id) WHERE (state = 'champion'::text);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
ALTER TABLE ONLY public.acquired
    ADD CONSTRAINT fk_acquired_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.acquisitions(cycle_id);
ALTER TABLE ONLY public.acquisitions
    ADD CONSTRAINT fk_acquisitions_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.campaign_versions
    ADD CONSTRAINT fk_campaign_versions_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.catalogue_faults
    ADD CONSTRAINT fk_catalogue_faults_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.catalogues
    ADD CONSTRAINT fk_catalogues_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.classifications
    ADD CONSTRAINT fk_classifications_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
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
ALTER TABLE ONLY public.galaxies
    ADD CONSTRAINT fk_galaxies_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.gate_decisions
    ADD CONSTRAINT fk_gate_decisions_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.image_shards
    ADD CONSTRAINT fk_image_shards_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES public.catalogues(id);
ALTER TABLE ONLY public.ingest_cursors
    ADD CONSTRAINT fk_ingest_cursors_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
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
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT fk_subjects_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT fk_subjects_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT fk_tallies_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.tally_totals
    ADD CONSTRAINT fk_tally_totals_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id);
ALTER TABLE ONLY public.training_snapshots
    ADD CONSTRAINT fk_training_snapshots_cycle_id FOREIGN KEY (cycle_id) REFERENCES public.cycles(id);
