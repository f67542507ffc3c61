-- Every view counts a session once (FINAL, not superseded) and keeps bots and simulated buyers out of live mixes.
CREATE VIEW IF NOT EXISTS sessions AS
SELECT *
FROM session_assignments FINAL
WHERE superseded_by = '';

CREATE VIEW IF NOT EXISTS merchant_session_mix AS
SELECT merchant_id, codebook_version, code, any(code_path) AS code_path, count() AS sessions
FROM sessions
WHERE is_final AND NOT is_bot AND source = 'live'
GROUP BY merchant_id, codebook_version, code;

CREATE VIEW IF NOT EXISTS merchant_buyer_mix AS
SELECT merchant_id, codebook_version, code, any(code_path) AS code_path, count() AS buyers
FROM buyer_assignments FINAL
WHERE source = 'live'
GROUP BY merchant_id, codebook_version, code;

CREATE VIEW IF NOT EXISTS books AS
SELECT
    merchant_id,
    codebook_version,
    source,
    sum(assigned) AS assigned_sessions,
    sum(counted) AS counted_sessions,
    assigned_sessions = counted_sessions AS balanced
FROM
(
    SELECT merchant_id, codebook_version, source, count() AS assigned, 0 AS counted
    FROM sessions
    WHERE is_final AND NOT is_bot
    GROUP BY merchant_id, codebook_version, source
    UNION ALL
    SELECT merchant_id, codebook_version, source, 0 AS assigned, sum(sessions) AS counted
    FROM merchant_distributions FINAL
    WHERE window = '1d'
    GROUP BY merchant_id, codebook_version, source
)
GROUP BY merchant_id, codebook_version, source;

CREATE VIEW IF NOT EXISTS latest_mix AS
SELECT
    d.merchant_id AS merchant_id,
    d.codebook_version AS codebook_version,
    d.source AS source,
    d.window_start AS as_of,
    d.code AS code,
    p.code_path AS code_path,
    p.name AS persona,
    d.weight AS weight,
    d.n_effective AS n_effective
FROM
(
    SELECT *
    FROM merchant_distributions FINAL
    WHERE window = 'decayed'
      AND (merchant_id, source, codebook_version, window_start) IN
      (
          SELECT merchant_id, source, argMax(codebook_version, (window_start, emitted_at)), max(window_start)
          FROM merchant_distributions
          WHERE window = 'decayed'
          GROUP BY merchant_id, source
      )
) AS d
LEFT JOIN (SELECT * FROM personas FINAL) AS p ON p.codebook_version = d.codebook_version AND p.code = d.code;

CREATE VIEW IF NOT EXISTS round_trip AS
SELECT
    s.run_id AS run_id,
    s.merchant_id AS merchant_id,
    s.client_id AS client_id,
    s.intended_code AS intended_code,
    s.intended_path AS intended_path,
    a.code AS code,
    a.code_path AS code_path,
    splitByChar('.', s.intended_path)[1] = splitByChar('.', a.code_path)[1] AS own_coarse_type
FROM simulated_sessions AS s FINAL
INNER JOIN sessions AS a ON a.merchant_id = s.merchant_id AND a.client_id = s.client_id
WHERE a.is_final AND a.source = 'simulated';
