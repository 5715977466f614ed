-- Roles and databases of docker/compose.yaml, made once by the superuser, who is used for nothing else:
--   alservice_owner  owns the schema: migrations and restores
--   alservice        reads and writes rows: service and workers; it makes, changes and drops no table
--   prefect          owns Prefect's own database, and sees no other
-- For a Postgres of your own:  OWNER_PASSWORD=... (and the two below) psql -f docker/postgres-roles.sql
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
\getenv prefect_password PREFECT_DATABASE_PASSWORD

CREATE ROLE alservice_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE alservice LOGIN PASSWORD :'app_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';

CREATE DATABASE alservice OWNER alservice_owner;
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE alservice, prefect FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE alservice TO alservice;

\connect alservice
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO alservice_owner;
GRANT USAGE ON SCHEMA public TO alservice;
ALTER DEFAULT PRIVILEGES FOR ROLE alservice_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO alservice;
ALTER DEFAULT PRIVILEGES FOR ROLE alservice_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO alservice;

\connect prefect
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO prefect;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
