CREATE TABLE cells (
  study TEXT NOT NULL, 
  scale TEXT NOT NULL, 
  cell TEXT NOT NULL, 
  dataset TEXT NOT NULL, 
  model TEXT NOT NULL, 
  prompt_weight DOUBLE NOT NULL, 
  response_weight DOUBLE NOT NULL, 
  normalizer TEXT NOT NULL, 
  scope TEXT NOT NULL, 
  seed BIGINT NOT NULL, 
  r_g DOUBLE, 
  folder TEXT NOT NULL, 
  payload TEXT NOT NULL, 
  created DOUBLE NOT NULL, 
  recipe TEXT, 
  PRIMARY KEY (study, scale, cell)
);
CREATE TABLE meta (
  schema_version INTEGER NOT NULL, 
  PRIMARY KEY (schema_version)
);
CREATE TABLE curves (
  study TEXT NOT NULL, 
  scale TEXT NOT NULL, 
  cell TEXT NOT NULL, 
  step BIGINT NOT NULL, 
  epoch DOUBLE, 
  loss DOUBLE, 
  prompt_loss DOUBLE, 
  completion_loss DOUBLE, 
  grad_norm DOUBLE, 
  learning_rate DOUBLE, 
  tokens BIGINT, 
  penalty DOUBLE, 
  held_out_prompt_loss DOUBLE, 
  held_out_completion_loss DOUBLE, 
  seconds DOUBLE, 
  tokens_per_second DOUBLE, 
  mfu DOUBLE, 
  PRIMARY KEY (study, scale, cell, step), 
  FOREIGN KEY(study, scale, cell) REFERENCES cells (study, scale, cell)
);
CREATE TABLE stages (
  study TEXT NOT NULL, 
  scale TEXT NOT NULL, 
  cell TEXT NOT NULL, 
  name TEXT NOT NULL, 
  kind TEXT NOT NULL, 
  fingerprint TEXT NOT NULL, 
  status TEXT NOT NULL, 
  attempts INTEGER NOT NULL, 
  token TEXT, 
  host TEXT, 
  pid BIGINT, 
  process_started DOUBLE, 
  heartbeat DOUBLE, 
  started DOUBLE, 
  finished DOUBLE, 
  seconds DOUBLE, 
  error TEXT, 
  traceback TEXT, 
  PRIMARY KEY (study, scale, cell, name), 
  FOREIGN KEY(study, scale, cell) REFERENCES cells (study, scale, cell), 
  CONSTRAINT stages_status CHECK (status IN ('running', 'done', 'failed'))
);
CREATE TABLE scores (
  study TEXT NOT NULL, 
  scale TEXT NOT NULL, 
  cell TEXT NOT NULL, 
  suite TEXT NOT NULL, 
  benchmark TEXT NOT NULL, 
  metric TEXT NOT NULL, 
  judge TEXT NOT NULL, 
  value DOUBLE NOT NULL, 
  stderr DOUBLE, 
  n BIGINT, 
  headline BOOLEAN NOT NULL, 
  higher_is_better BOOLEAN, 
  task_version TEXT, 
  judge_version TEXT, 
  library_version TEXT, 
  stage TEXT NOT NULL, 
  PRIMARY KEY (study, scale, cell, suite, benchmark, metric, judge), 
  FOREIGN KEY(study, scale, cell) REFERENCES cells (study, scale, cell), 
  FOREIGN KEY(study, scale, cell, stage) REFERENCES stages (study, scale, cell, name)
);
CREATE INDEX scores_by_stage ON scores (study, scale, cell, stage);
INSERT INTO meta VALUES (1);
