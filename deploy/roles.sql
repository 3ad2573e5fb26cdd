-- The gateway's own role, made once by an administrator (Docker's Postgres runs this file when it makes the database).
-- It owns nothing. What it may do it is given by `solar-gateway migrate` with GATEWAY_APP_ROLE=solar_app: read and append; of the ledger
-- and the audit log nothing else, of other tables change; nowhere delete. Elsewhere than in Docker: set the password by \password solar_app.
CREATE ROLE solar_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
\if `test -r /run/secrets/app_password && echo true || echo false`
\set password `cat /run/secrets/app_password`
ALTER ROLE solar_app PASSWORD :'password';
\endif
