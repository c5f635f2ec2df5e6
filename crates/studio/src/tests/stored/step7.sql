PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'studio','2026-11-27 07:33:02',1,X'df6749a741d9daace9be9dc1cea02ba23b4c57760cebffbf1bcead1115ab5ce991f7dd0d20b01d3114363a8f32c16b39',3114841);
INSERT INTO _sqlx_migrations VALUES(2,'uploads and receipts','2026-11-27 07:33:02',1,X'a891c6e56c016ff29bd27798d39f121136dc2599d1541d6708d7ecc792b3f13aff4fb20ff93a64ae0bf3c59a2cbc7d5f',333155);
INSERT INTO _sqlx_migrations VALUES(3,'datasets and training','2026-11-27 07:33:02',1,X'5a20842a4933add77a6ec8e04d9c1e2feb98913551248adc6ab884b83c502b8458c0d524b65c39bdd0b00850fa7ad23d',697617);
INSERT INTO _sqlx_migrations VALUES(4,'limits and deletion','2026-11-27 07:33:02',1,X'28878e9efe040717cfc2ca4a293eeea27165db551e53430d66ec98d7821c925e597909f6f096e1155ed2808c86e02861',4934637);
INSERT INTO _sqlx_migrations VALUES(5,'embeddings','2026-11-27 07:33:02',1,X'fdd747d42b33099cbe0b3d600cce7f7a65d2316da7d47be655cf476462e854a9e2c46cf21d3aa5250bcbcd73a8969a34',220278);
INSERT INTO _sqlx_migrations VALUES(6,'class images','2026-11-27 07:33:02',1,X'e55ea285d544c5398e145f1db34cea2811aefa9f7cac7b99fbec67dbe05202bd8f4a2ac9d5eef66d5f6e8864e82c88ca',1247595);
INSERT INTO _sqlx_migrations VALUES(7,'adapter warnings','2026-11-27 07:33:02',1,X'a87fdae53128b9ed3426a59c33b3007460f407318d3d03f24c937467e8d3f254e8251f0f0220712c7f06765b6a8a3528',459583);
CREATE TABLE generations (
    id            TEXT PRIMARY KEY,            -- UUID v7: their order is the order of the queue
    visitor       TEXT,
    state         TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    spec          TEXT NOT NULL,               -- JSON, complete, adapters as name@vN
    created_at    BIGINT NOT NULL,
    started_at    BIGINT,
    finished_at   BIGINT,
    error         TEXT,
    epoch         BIGINT NOT NULL DEFAULT 0,   -- server starts that found it unfinished; event numbers build on it
    attempts      BIGINT NOT NULL DEFAULT 0,   -- starts of its work that no shutdown ended in order
    started_event BIGINT,                      -- numbers of the events that stay
    final_event   BIGINT
, network TEXT);
INSERT INTO generations VALUES('01a21bec-0412-7264-83d7-38f9855943bc','74af19011b4dcf26277138d5a9bc9901','done','{"prompt":"MyCloth with moons, it''s “blue”","negative_prompt":"","seed":7,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":2,"clip_skip":1,"adapters":[{"name":"indigo@v1","strength":0.8}],"init_image":"0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0","mask":"54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8","denoising_strength":0.75,"keep_unmasked":true}',1795764782098,1795764782098,1795764782102,NULL,0,1,2,11,NULL);
INSERT INTO generations VALUES('01a21bec-0417-70e3-8008-44e20b2dc63e',NULL,'failed','{"prompt":"moons fail!","negative_prompt":"","seed":7,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":1,"clip_skip":1,"adapters":[]}',1795764782103,1795764782103,1795764782104,'The fake engine was asked to fail.',0,1,2,4,NULL);
INSERT INTO generations VALUES('01a21bec-0412-7264-83d7-38f985590002',NULL,'queued','{"prompt":"MyCloth with moons, it''s “blue”","negative_prompt":"","seed":7,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":2,"clip_skip":1,"adapters":[{"name":"indigo@v1","strength":0.8}],"init_image":"0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0","mask":"54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8","denoising_strength":0.75,"keep_unmasked":true}',1795764782098,NULL,NULL,NULL,1,0,NULL,NULL,'198.51.100.0');
INSERT INTO generations VALUES('01a21bec-0412-7264-83d7-38f985590001',NULL,'cancelled','{"prompt":"MyCloth with moons, it''s “blue”","negative_prompt":"","seed":7,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":2,"clip_skip":1,"adapters":[{"name":"indigo@v1","strength":0.8}],"init_image":"0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0","mask":"54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8","denoising_strength":0.75,"keep_unmasked":true}',1795764782098,NULL,1795764782102,NULL,0,1,NULL,11,NULL);
CREATE TABLE images (
    generation TEXT NOT NULL REFERENCES generations (id),
    position   BIGINT NOT NULL,
    hash       TEXT NOT NULL,
    visitor    TEXT,
    recipe     TEXT NOT NULL,                  -- JSON
    infotext   TEXT NOT NULL,
    created_at BIGINT NOT NULL,                -- grows from row to row, so that it can page through them
    event      BIGINT NOT NULL,
    PRIMARY KEY (generation, position)
);
INSERT INTO images VALUES('01a21bec-0412-7264-83d7-38f9855943bc',0,'440233a6a21c9e4526274eccca0b0497e92c84f4ff870b991f84f8ba15601f2c','74af19011b4dcf26277138d5a9bc9901','{"spec":{"prompt":"MyCloth with moons, it''s “blue”","negative_prompt":"","seed":7,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":1,"clip_skip":1,"adapters":[{"name":"indigo@v1","strength":0.8}],"init_image":"0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0","mask":"54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8","denoising_strength":0.75,"keep_unmasked":true},"adapter_hashes":["afa1ff8009b617496e90e80993b2e6fafcdd212989a35747184abd41bed4348b"],"embeddings":[{"word":"MyCloth","hash":"aa580156f36e357b5bfb0dcd869a026c7b0a244e7b01cba17d5da1dc1e7039cd"}],"model":"fake","model_hash":"fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e","device":"cpu","dtype":"f32","version":"0.1.0","fingerprint":"fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e","seconds":0.000186527,"switch_seconds":0.0}',replace('MyCloth with moons, it''s “blue” <lora:indigo@v1:0.8>\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 7, Size: 64x64, Model hash: fa4efa4efa, Model: fake, Denoising strength: 0.75, RNG: CPU, Lora hashes: "indigo@v1: afa1ff8009b6", TI hashes: "MyCloth: aa580156f36e", Version: Adire 0.1.0','\n',char(10)),1795764782098,6);
INSERT INTO images VALUES('01a21bec-0412-7264-83d7-38f9855943bc',1,'b58bdd2ab6ed87a05b22559e579f30f379860d537afbe26849f4ff92d3c60342','74af19011b4dcf26277138d5a9bc9901','{"spec":{"prompt":"MyCloth with moons, it''s “blue”","negative_prompt":"","seed":8,"rng":"cpu","steps":4,"guidance":5.0,"sampler":"dpmpp_2m_karras","width":64,"height":64,"count":1,"clip_skip":1,"adapters":[{"name":"indigo@v1","strength":0.8}],"init_image":"0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0","mask":"54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8","denoising_strength":0.75,"keep_unmasked":true},"adapter_hashes":["afa1ff8009b617496e90e80993b2e6fafcdd212989a35747184abd41bed4348b"],"embeddings":[{"word":"MyCloth","hash":"aa580156f36e357b5bfb0dcd869a026c7b0a244e7b01cba17d5da1dc1e7039cd"}],"model":"fake","model_hash":"fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e","device":"cpu","dtype":"f32","version":"0.1.0","fingerprint":"fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e","seconds":0.000171075,"switch_seconds":0.0}',replace('MyCloth with moons, it''s “blue” <lora:indigo@v1:0.8>\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 8, Size: 64x64, Model hash: fa4efa4efa, Model: fake, Denoising strength: 0.75, RNG: CPU, Lora hashes: "indigo@v1: afa1ff8009b6", TI hashes: "MyCloth: aa580156f36e", Version: Adire 0.1.0','\n',char(10)),1795764782100,10);
CREATE TABLE adapter_versions (
    name          TEXT NOT NULL,
    version       BIGINT NOT NULL CHECK (version > 0),
    hash          TEXT NOT NULL,
    description   TEXT NOT NULL,
    trigger_words TEXT NOT NULL,
    bytes         BIGINT NOT NULL,
    created_at    BIGINT NOT NULL, hidden BIGINT NOT NULL DEFAULT 0, downloads BIGINT NOT NULL DEFAULT 1, deleted_at BIGINT,
    PRIMARY KEY (name, version)
);
INSERT INTO adapter_versions VALUES('adire',1,'d22252868b2e5616b0200382bbe0434407c0275ea4195c9f376524bc92bf18c7','','',15,1795764782071,0,1,1795764782146);
INSERT INTO adapter_versions VALUES('adire',2,'2f67f00817437aec4a1ea3b58ad05a676cf366a6d25d9db90d515b619befeb4c','Dots.','adire',15,1795764782074,1,0,NULL);
INSERT INTO adapter_versions VALUES('indigo',1,'afa1ff8009b617496e90e80993b2e6fafcdd212989a35747184abd41bed4348b','Dots.','adire',17,1795764782079,0,1,NULL);
INSERT INTO adapter_versions VALUES('cloth',1,'1a1e69678b5d5f215b3e9394ff4b62f3230e4d17e611ad5e18f957d385a214c9','first try','tok',44,1795764782129,0,1,NULL);
CREATE TABLE timings (
    model    TEXT PRIMARY KEY,                 -- model hash, device, dtype
    step_ms  DOUBLE PRECISION NOT NULL,
    fixed_ms DOUBLE PRECISION NOT NULL
);
INSERT INTO timings VALUES('fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e cpu f32',0.002084250000000000165,0.17619835000000000357);
CREATE TABLE uploads (
    hash       TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL                  -- when it was last brought or asked for
, bytes BIGINT NOT NULL DEFAULT 0);
INSERT INTO uploads VALUES('0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0',1795764782097,327);
INSERT INTO uploads VALUES('54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8',1795764782097,328);
INSERT INTO uploads VALUES('a74a46905c2d019591d8ddc067c59a0251ba14d7311ce9a2867d9482694937b1',1795764782097,328);
CREATE TABLE adapter_receipts (
    hash    TEXT NOT NULL,                      -- of the adapter's file
    model   TEXT NOT NULL,                      -- hash of the model
    receipt TEXT NOT NULL, warning TEXT,                      -- JSON
    PRIMARY KEY (hash, model)
);
INSERT INTO adapter_receipts VALUES('d22252868b2e5616b0200382bbe0434407c0275ea4195c9f376524bc92bf18c7','fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e','{"formats":["fake"],"family":"the fake model","applied":[{"component":"unet","module":"down_blocks.0.attentions.0.to_q","kind":"lora","rank":4,"alpha":4.0,"scale":1.0,"ratio":0.125}],"skipped":[],"unknown":[],"left_out":[]}',NULL);
INSERT INTO adapter_receipts VALUES('2f67f00817437aec4a1ea3b58ad05a676cf366a6d25d9db90d515b619befeb4c','fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e','{"formats":["fake"],"family":"the fake model","applied":[{"component":"unet","module":"down_blocks.0.attentions.0.to_q","kind":"lora","rank":4,"alpha":4.0,"scale":1.0,"ratio":0.125}],"skipped":[],"unknown":[],"left_out":[]}',NULL);
INSERT INTO adapter_receipts VALUES('afa1ff8009b617496e90e80993b2e6fafcdd212989a35747184abd41bed4348b','fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e','{"formats":["fake"],"family":"the fake model","applied":[{"component":"unet","module":"down_blocks.0.attentions.0.to_q","kind":"lora","rank":4,"alpha":4.0,"scale":1.0,"ratio":0.125}],"skipped":[],"unknown":[],"left_out":[]}',NULL);
INSERT INTO adapter_receipts VALUES('1a1e69678b5d5f215b3e9394ff4b62f3230e4d17e611ad5e18f957d385a214c9','fa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4efa4e','{"formats":["fake"],"family":"the fake model","applied":[{"component":"unet","module":"down_blocks.0.attentions.0.to_q","kind":"lora","rank":4,"alpha":4.0,"scale":1.0,"ratio":0.125}],"skipped":[],"unknown":[],"left_out":[]}',NULL);
CREATE TABLE datasets (
    id           TEXT PRIMARY KEY,             -- UUID v7
    name         TEXT NOT NULL,
    trigger_word TEXT NOT NULL,
    caption      TEXT NOT NULL,                -- of pictures without one of their own
    hash         TEXT,                         -- of the content; NULL while it can be changed
    remarks      TEXT NOT NULL DEFAULT '[]',   -- JSON
    created_at   BIGINT NOT NULL
, class_dataset TEXT);
INSERT INTO datasets VALUES('01a21bec-0418-7668-8b68-1b6fa0543873','cloth','tok','cloth','7c8a85b2c368c38fcc80a6f8357dcc78b669012cd43ecf2b8b16eed7fe074533','[]',1795764782104,NULL);
INSERT INTO datasets VALUES('01a21bec-0439-766a-a61b-316286c0e177','draft','tok','cloth',NULL,'[]',1795764782137,'01a21bec-043f-75a3-aef0-8bead0f37013');
INSERT INTO datasets VALUES('01a21bec-043f-75a3-aef0-8bead0f37013','class','tok','cloth',NULL,'[]',1795764782143,NULL);
CREATE TABLE dataset_pictures (
    dataset TEXT NOT NULL REFERENCES datasets (id),
    hash    TEXT NOT NULL,                     -- of the file, which is a blob
    pixels  TEXT NOT NULL,                     -- hash of the decoded pixels: what makes two pictures the same
    name    TEXT NOT NULL,
    caption TEXT NOT NULL,                     -- its own; may be empty
    repeats BIGINT NOT NULL,
    width   BIGINT NOT NULL,
    height  BIGINT NOT NULL,
    PRIMARY KEY (dataset, hash)
);
INSERT INTO dataset_pictures VALUES('01a21bec-0418-7668-8b68-1b6fa0543873','b9d58d051dd5d9b471acc344f68c76e67b4c241cac6393c889c8b00bf3f92fdb','07f1315282652bfcc310ae3088804962fc7c777d01265c7363d63ec935f99c05','0.png','',1,64,64);
INSERT INTO dataset_pictures VALUES('01a21bec-0418-7668-8b68-1b6fa0543873','59814d2d6c5b219e218010116a00b7965df6b4fbd993bc6773b3802e56b658a4','b5c4deaf2fe7dae485c2e71a6cdd46cdf9cff862693043cfd5ea1ef24943b4ea','1.png','',1,64,64);
INSERT INTO dataset_pictures VALUES('01a21bec-0439-766a-a61b-316286c0e177','b9d58d051dd5d9b471acc344f68c76e67b4c241cac6393c889c8b00bf3f92fdb','07f1315282652bfcc310ae3088804962fc7c777d01265c7363d63ec935f99c05','0.png','',1,64,64);
INSERT INTO dataset_pictures VALUES('01a21bec-043f-75a3-aef0-8bead0f37013','b9d58d051dd5d9b471acc344f68c76e67b4c241cac6393c889c8b00bf3f92fdb','07f1315282652bfcc310ae3088804962fc7c777d01265c7363d63ec935f99c05','0.png','',1,64,64);
CREATE TABLE training_jobs (
    id             TEXT PRIMARY KEY,           -- UUID v7: their order is the order of the queue
    request        TEXT NOT NULL,              -- JSON, complete
    dataset_hash   TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
    created_at     BIGINT NOT NULL,
    started_at     BIGINT,
    finished_at    BIGINT,
    step           BIGINT NOT NULL DEFAULT 0,
    error          TEXT,
    halved         BOOLEAN NOT NULL DEFAULT FALSE,
    version        TEXT,
    forecast       TEXT,                       -- JSON
    waited_ms      BIGINT NOT NULL DEFAULT 0,  -- for people's pictures
    attempts       BIGINT NOT NULL DEFAULT 0   -- starts since anything was gained
);
INSERT INTO training_jobs VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4','{"name":"cloth","dataset":"01a21bec-0418-7668-8b68-1b6fa0543873","config":{"steps":4,"learning_rate":0.0001,"schedule":"constant","warmup":0,"batch":1,"accumulation":4,"rank":4,"alpha":4.0,"targets":"attention","text_encoder":false,"resolution":512,"crop":"center","caption_dropout":0.0,"prior_weight":1.0,"class_pictures":0,"min_snr_gamma":null,"noise_offset":0.0,"max_gradient_norm":1.0,"weight_decay":0.01,"seed":42,"gradient_checkpointing":false,"held_out":0.1,"checkpoint_every":2,"sample_every":2,"sample_prompts":["a tok cloth"],"publish_captions":false},"note":"first try"}','7c8a85b2c368c38fcc80a6f8357dcc78b669012cd43ecf2b8b16eed7fe074533','done',1795764782113,1795764782113,1795764782130,4,NULL,0,'cloth@v1','{"seconds":4.0,"bytes":1048576}',0,0);
INSERT INTO training_jobs VALUES('f1a21bec-0421-76e0-81e3-bf14b76dc9a4','{"name":"cloth","dataset":"01a21bec-0418-7668-8b68-1b6fa0543873","config":{"steps":4,"learning_rate":0.0001,"schedule":"constant","warmup":0,"batch":1,"accumulation":4,"rank":4,"alpha":4.0,"targets":"attention","text_encoder":false,"resolution":512,"crop":"center","caption_dropout":0.0,"prior_weight":1.0,"class_pictures":0,"min_snr_gamma":null,"noise_offset":0.0,"max_gradient_norm":1.0,"weight_decay":0.01,"seed":42,"gradient_checkpointing":false,"held_out":0.1,"checkpoint_every":2,"sample_every":2,"sample_prompts":["a tok cloth"],"publish_captions":false},"note":"first try"}','7c8a85b2c368c38fcc80a6f8357dcc78b669012cd43ecf2b8b16eed7fe074533','paused',1795764782113,1795764782113,NULL,2,NULL,1,NULL,'{"seconds":4.0,"bytes":1048576}',1500,0);
CREATE TABLE training_points (
    job           TEXT NOT NULL REFERENCES training_jobs (id),
    step          BIGINT NOT NULL,
    loss          DOUBLE PRECISION,
    held_out_loss DOUBLE PRECISION,
    learning_rate DOUBLE PRECISION,
    gradient_norm DOUBLE PRECISION,
    seconds       DOUBLE PRECISION,
    number        BIGINT NOT NULL,
    PRIMARY KEY (job, step)
);
INSERT INTO training_points VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',0,NULL,1.0,NULL,NULL,NULL,1795764782117);
INSERT INTO training_points VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',1,0.76953125,NULL,0.00010000000000000000479,0.5,2.9840000000000001445e-06,1795764782119);
INSERT INTO training_points VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',2,0.34375,0.33333333333333331482,0.00010000000000000000479,0.5,3.7560000000000001222e-06,1795764782121);
INSERT INTO training_points VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',3,0.984375,NULL,0.00010000000000000000479,0.5,3.2449999999999998481e-06,1795764782125);
INSERT INTO training_points VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',4,0.51953125,0.2000000000000000111,0.00010000000000000000479,0.5,8.9100000000000002427e-07,1795764782127);
CREATE TABLE training_samples (
    job          TEXT NOT NULL REFERENCES training_jobs (id),
    step         BIGINT NOT NULL,
    prompt_index BIGINT NOT NULL,
    with_adapter BOOLEAN NOT NULL,
    prompt       TEXT NOT NULL,
    hash         TEXT NOT NULL,
    number       BIGINT NOT NULL,
    PRIMARY KEY (job, step, prompt_index, with_adapter)
);
INSERT INTO training_samples VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',0,0,0,'a tok cloth','d4af5ac57010f86370a0554397ead86d8a2bfe3665ba8b5b474a5d392e28cd8f',1795764782118);
INSERT INTO training_samples VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',2,0,1,'a tok cloth','4de0db8844c237a0fd3ff068e9c73e3a7716a160a83cf37a555646e90291bced',1795764782124);
INSERT INTO training_samples VALUES('01a21bec-0421-76e0-81e3-bf14b76dc9a4',4,0,1,'a tok cloth','6bed87bb26b842ea16e778237796cd43d362ce139af1ba018716ac22998e2eed',1795764782128);
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO settings VALUES('fixture','["a","b"]');
CREATE TABLE generation_inputs (
    generation TEXT NOT NULL REFERENCES generations (id),
    hash       TEXT NOT NULL,
    PRIMARY KEY (generation, hash)
);
INSERT INTO generation_inputs VALUES('01a21bec-0412-7264-83d7-38f9855943bc','0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0');
INSERT INTO generation_inputs VALUES('01a21bec-0412-7264-83d7-38f9855943bc','54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8');
CREATE TABLE upload_owners (
    hash       TEXT NOT NULL REFERENCES uploads (hash),
    owner      TEXT NOT NULL,                  -- digest of the visitor; without one, ~ and the digest of the network
    network    TEXT NOT NULL,                  -- digest
    bytes      BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (hash, owner)
);
INSERT INTO upload_owners VALUES('0c7821f41a3fe54b746714f031fded34bbd3ea4029e1bde87ae5103d12d1e8d0','74af19011b4dcf26277138d5a9bc9901','f5aae6eb581c54410f1dd113b4f23299',327,1795764782088);
INSERT INTO upload_owners VALUES('54e57035a58bcca3c7b5a8ac530783a55e3222f11bd1b0ac9e9039469f4face8','74af19011b4dcf26277138d5a9bc9901','f5aae6eb581c54410f1dd113b4f23299',328,1795764782092);
CREATE TABLE blobs_to_remove (
    hash TEXT PRIMARY KEY
);
INSERT INTO blobs_to_remove VALUES('d22252868b2e5616b0200382bbe0434407c0275ea4195c9f376524bc92bf18c7');
INSERT INTO blobs_to_remove VALUES('eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee');
CREATE TABLE embeddings (
    folded     TEXT PRIMARY KEY,             -- the word in lower case, as prompts are read
    word       TEXT NOT NULL,
    hash       TEXT NOT NULL,                -- of the file
    vectors    BIGINT NOT NULL,
    width      BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO embeddings VALUES('mycloth','MyCloth','aa580156f36e357b5bfb0dcd869a026c7b0a244e7b01cba17d5da1dc1e7039cd',2,768,9,1795764782080);
CREATE INDEX generations_by_state ON generations (state, id);
CREATE INDEX images_by_hash ON images (hash);
CREATE INDEX images_by_visitor ON images (visitor, created_at);
CREATE INDEX dataset_pictures_by_hash ON dataset_pictures (hash);
CREATE INDEX training_jobs_by_state ON training_jobs (state, id);
CREATE INDEX training_samples_by_hash ON training_samples (hash);
CREATE INDEX generation_inputs_by_hash ON generation_inputs (hash);
CREATE INDEX uploads_by_age ON uploads (created_at);
CREATE INDEX upload_owners_by_owner ON upload_owners (owner, created_at);
CREATE INDEX upload_owners_by_network ON upload_owners (network, created_at);
COMMIT;
