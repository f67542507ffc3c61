-- What a code means, and how the codes of one version map to those of the version before.
CREATE TABLE IF NOT EXISTS codebooks
(
    codebook_version String,
    created_at       DateTime64(3, 'UTC'),
    size             UInt32,
    coarse           UInt32,
    manifest         String,
    previous_version String DEFAULT '',
    code_map         String DEFAULT '{}'
)
ENGINE = ReplacingMergeTree
ORDER BY codebook_version;

CREATE TABLE IF NOT EXISTS personas
(
    codebook_version LowCardinality(String),
    code             Int32,
    code_path        LowCardinality(String),
    name             String,
    sentence         String,
    statistics       String,
    share            Float64
)
ENGINE = ReplacingMergeTree
ORDER BY (codebook_version, code);
