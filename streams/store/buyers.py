"""A buyer's type from their recent sessions: a vote in the store, where all sessions of a buyer meet.

Each of the buyer's final sessions votes for its code with its confidence, halved for every half-life it lies before the
buyer's newest session. Only sessions of the newest session's codebook version vote, as codes of two versions mean
different things. The row's confidence is the winner's share of all votes that could have been cast, so one session of
confidence 0.8 gives 0.8. ``revision`` is the number of all final sessions of the buyer, which only grows.

The refresh looks for sessions stored since the last one by the store's own clock and needs no other state: after a
crash the next refresh starts where the newest row of ``buyer_assignments`` says. Re-reading some seconds twice
(``OVERLAP_MS``) covers inserts that were under way.
"""

#: Least time between two refreshes, and the longest when nobody came.
INTERVAL_MS = 5_000
LONGEST_INTERVAL_MS = 60_000
#: A refresh may take up to one part in so many of the time: on a large table it runs less often.
TIME_SHARE = 20
OVERLAP_MS = 30_000
#: A session's vote halves in this time of the buyer's own history.
HALF_LIFE_MS = 14 * 86_400_000

CLOCK = "SELECT toUnixTimestamp64Milli(now64(3, 'UTC'))"
NEWEST = "SELECT toUnixTimestamp64Milli(max(updated_at)) AS newest_ms FROM buyer_assignments"

#: Final sessions stored since the last refresh: none means that there is nothing to do.
FRESH = """
SELECT count() AS sessions FROM session_assignments
WHERE inserted_at >= fromUnixTimestamp64Milli(%(since_ms)s, 'UTC') AND is_final
"""

REFRESH = """
INSERT INTO buyer_assignments
    (merchant_id, client_id, source, code, code_path, confidence, codebook_version, sessions_seen, revision, updated_at)
SELECT
    merchant_id,
    client_id,
    source,
    argMax(code, (votes, -code)),
    argMax(path, (votes, -code)),
    toFloat32(least(max(votes) / sum(most), 1)),
    any(version),
    toUInt32(sum(sessions)),
    any(all_sessions),
    now64(3, 'UTC')
FROM
(
    SELECT
        merchant_id,
        client_id,
        source,
        code,
        any(code_path) AS path,
        sum(weight * confidence) AS votes,
        sum(weight) AS most,
        count() AS sessions,
        any(newest_version) AS version,
        any(seen) AS all_sessions
    FROM
    (
        SELECT
            merchant_id,
            client_id,
            source,
            code,
            code_path,
            confidence,
            codebook_version,
            argMax(codebook_version, (ended_at, session_id)) OVER buyer AS newest_version,
            toUInt64(count() OVER buyer) AS seen,
            exp2(
                (toUnixTimestamp64Milli(ended_at) - toUnixTimestamp64Milli(max(ended_at) OVER buyer))
                / %(half_life_ms)s
            ) AS weight
        FROM session_assignments FINAL
        WHERE is_final AND NOT is_bot AND superseded_by = ''
          AND merchant_id IN (
              SELECT merchant_id FROM session_assignments
              WHERE inserted_at >= fromUnixTimestamp64Milli(%(since_ms)s, 'UTC') AND is_final
          )
          AND (merchant_id, client_id) IN (
              SELECT merchant_id, client_id FROM session_assignments
              WHERE inserted_at >= fromUnixTimestamp64Milli(%(since_ms)s, 'UTC') AND is_final
          )
        WINDOW buyer AS (PARTITION BY merchant_id, client_id, source)
    )
    WHERE codebook_version = newest_version
    GROUP BY merchant_id, client_id, source, code
)
GROUP BY merchant_id, client_id, source
"""
