-- A ledger of version 2, as the parburn of that version wrote it on simulated boards (a rig of esp32c3:3,esp32:2
-- with seed 1): ids.json (custom MACs aa:cd:ef:00:02:NN by index) on boards 0 and 1, ids.csv (a custom MAC a line,
-- aa:cd:ef:00:07:NN) on boards 2 and 4, then another job that sets a flag only on boards 0 and 2.
PRAGMA application_id=1346524498;
PRAGMA user_version=2;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('digest_key',X'55ea2b1ab1615b7bf583091d59961e8a72da62d53517e566c2de3eb330ef665f');
INSERT INTO meta VALUES('uuid','fc4912ea7544fab2a2d2e68a027ac9f2');
CREATE TABLE runs (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, started TEXT NOT NULL, process TEXT NOT NULL,
        ended TEXT
    );
INSERT INTO runs VALUES(1,1,'2026-11-29T10:28:32.208+00:00','b67ff1e4-c3c5-4048-bb43-d62a920a0736 pid:[4026531836] 11147 659610','2026-11-29T10:28:32.246+00:00');
INSERT INTO runs VALUES(2,2,'2026-11-29T10:28:32.386+00:00','b67ff1e4-c3c5-4048-bb43-d62a920a0736 pid:[4026531836] 11152 659631','2026-11-29T10:28:32.431+00:00');
INSERT INTO runs VALUES(3,1,'2026-11-29T10:28:32.569+00:00','b67ff1e4-c3c5-4048-bb43-d62a920a0736 pid:[4026531836] 11157 659649','2026-11-29T10:28:32.603+00:00');
INSERT INTO runs VALUES(4,2,'2026-11-29T10:28:32.774+00:00','b67ff1e4-c3c5-4048-bb43-d62a920a0736 pid:[4026531836] 11161 659666','2026-11-29T10:28:32.806+00:00');
CREATE TABLE batches (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, full_from INTEGER NOT NULL DEFAULT 1,
        full_to INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO batches VALUES(1,'config-6f919fc78780',1,0);
INSERT INTO batches VALUES(2,'config-a992b7829127',1,0);
CREATE TABLE batch_configs (
        batch INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (batch, digest)
    ) WITHOUT ROWID;
INSERT INTO batch_configs VALUES(1,'6f919fc787805909c478a31db5aec71836beb51795efbb5715b984f4f98be438');
INSERT INTO batch_configs VALUES(2,'a992b7829127c42aa7d99ad5492bd64a49e077017358fda58cf66f188b2e1dea');
CREATE TABLE units (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, chip TEXT NOT NULL, mac TEXT NOT NULL,
        unique_id TEXT NOT NULL, idx INTEGER, state TEXT NOT NULL, run INTEGER,
        spent INTEGER NOT NULL DEFAULT 0, going_back INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL, image_passed TEXT NOT NULL DEFAULT '',
        UNIQUE (mac, chip, unique_id, batch)
    );
INSERT INTO units VALUES(1,1,'esp32c3','a0:76:4e:1f:e1:44','ce4edf5eccd97f9661abb786c9c313c5',1,'pass',NULL,1,0,'','2026-11-29T10:28:32.602+00:00','{"blocks":{"0":"40000000000"}}');
INSERT INTO units VALUES(2,1,'esp32c3','f4:12:fa:29:b2:cc','a29c0c4a3e6c4001e66ca58eed0538a2',2,'pass',NULL,1,0,'','2026-11-29T10:28:32.244+00:00','{"blocks":{"0":"0","3":"20200efcdaa00000000000000000000000000000000000000000000000000"}}');
INSERT INTO units VALUES(3,2,'esp32c3','30:ae:a4:11:68:5b','f367bf29588be859b6f6ff776938cec1',1,'pass',NULL,1,0,'','2026-11-29T10:28:32.804+00:00','{"blocks":{"0":"40000000000"}}');
INSERT INTO units VALUES(4,2,'esp32','ec:da:3b:82:b4:6e','',2,'pass',NULL,1,0,'','2026-11-29T10:28:32.430+00:00','{"blocks":{"0":"10000000000033000080000005ecda3b82b46e00000000","3":"100000000000000000000000000000000020700efcdaa5c"}}');
CREATE TABLE records (
        digest TEXT NOT NULL, unit INTEGER NOT NULL, PRIMARY KEY (digest, unit)
    ) WITHOUT ROWID;
INSERT INTO records VALUES('50c8ebd8480f3d4c8e9203b22956a638ed10c1c6f2ce49bc8a02563086f56b04',1);
INSERT INTO records VALUES('9e6bc2655ca71e13a907424f817857873eeb1ba8b495c866fa0cc0a335d277a7',2);
CREATE TABLE unique_values (
        unit INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, bound INTEGER NOT NULL,
        conflict INTEGER NOT NULL, PRIMARY KEY (unit, name, value)
    ) WITHOUT ROWID;
INSERT INTO unique_values VALUES(1,'CUSTOM_MAC','aa:cd:ef:00:02:01',1,0);
INSERT INTO unique_values VALUES(2,'CUSTOM_MAC','aa:cd:ef:00:02:02',1,0);
INSERT INTO unique_values VALUES(3,'CUSTOM_MAC','aa:cd:ef:00:07:01',1,0);
INSERT INTO unique_values VALUES(4,'CUSTOM_MAC','aa:cd:ef:00:07:02',1,0);
CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, unit INTEGER NOT NULL, plan_digest TEXT NOT NULL, image_before TEXT NOT NULL,
        steps TEXT NOT NULL, closed INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO attempts VALUES(1,1,'f23e0efa4561a5d9fa342284650b320a682e3885bd248661346952ed8cf0a15b','{"blocks":{"0":"0","3":"0"}}','["BLOCK_USR_DATA"]',1);
INSERT INTO attempts VALUES(2,2,'8c2a009234e18aa6dd918929784502319527b827cc35e994bd1ba2b8d256cb7c','{"blocks":{"0":"0","3":"0"}}','["BLOCK_USR_DATA"]',1);
INSERT INTO attempts VALUES(3,3,'6948c7e827928d60ad8f7c521e210515ff7659ca4f30664fad8137eae52e25b4','{"blocks":{"0":"0","3":"0"}}','["BLOCK_USR_DATA"]',1);
INSERT INTO attempts VALUES(4,4,'e198deacee6cd4f9a971b61dbdebb40106c9e21fbade388fddc953442ddeeafd','{"blocks":{"0":"10000000000033000080000005ecda3b82b46e00000000","3":"0"}}','["BLOCK3"]',1);
INSERT INTO attempts VALUES(5,1,'b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919','{"blocks":{"0":"0"}}','["BLOCK0"]',1);
INSERT INTO attempts VALUES(6,3,'b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919','{"blocks":{"0":"0"}}','["BLOCK0"]',1);
CREATE TABLE attempt_steps (
        attempt INTEGER NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (attempt, label)
    ) WITHOUT ROWID;
INSERT INTO attempt_steps VALUES(1,'BLOCK_USR_DATA','verified');
INSERT INTO attempt_steps VALUES(2,'BLOCK_USR_DATA','verified');
INSERT INTO attempt_steps VALUES(3,'BLOCK_USR_DATA','verified');
INSERT INTO attempt_steps VALUES(4,'BLOCK3','verified');
INSERT INTO attempt_steps VALUES(5,'BLOCK0','verified');
INSERT INTO attempt_steps VALUES(6,'BLOCK0','verified');
CREATE TABLE passes (unit INTEGER NOT NULL, job TEXT NOT NULL, PRIMARY KEY (unit, job)) WITHOUT ROWID;
INSERT INTO passes VALUES(1,'9ed1b3c96fbbb9f21d00c1adeed6d3e9a651692563ed19f7bb7a0337f9e01f37');
INSERT INTO passes VALUES(1,'fcf731a12305d7b413e14ff439e51784b64cb100790f488a903e6455eb9ad75b');
INSERT INTO passes VALUES(2,'0b933e4392d774239527cefbee661086580fc7050ed05a53b99d6fc3c9518453');
INSERT INTO passes VALUES(3,'8aef0853a9b345a4d2be9211ff02093db38eecc502dba779fb86fa3f49ed6a3e');
INSERT INTO passes VALUES(3,'fbc7f6858df40e5d2a78fdf8d7f5c612b7ee80b4be230f52c2b53031bf0e923a');
INSERT INTO passes VALUES(4,'fbc7f6858df40e5d2a78fdf8d7f5c612b7ee80b4be230f52c2b53031bf0e923a');
CREATE TABLE clean_failures (
        batch INTEGER NOT NULL, idx INTEGER NOT NULL, job TEXT NOT NULL, unit INTEGER NOT NULL,
        PRIMARY KEY (batch, idx, job, unit)
    ) WITHOUT ROWID;
CREATE TABLE history (
        seq INTEGER PRIMARY KEY, at TEXT NOT NULL, run INTEGER, unit INTEGER, event TEXT NOT NULL,
        state TEXT NOT NULL, idx INTEGER, detail TEXT NOT NULL, hash TEXT NOT NULL
    );
INSERT INTO history VALUES(1,'2026-11-29T10:28:32.203+00:00',NULL,NULL,'made','',NULL,'{"replaces":"","uuid":"fc4912ea7544fab2a2d2e68a027ac9f2","why":"first run"}','43e67d658a101794ea524b6a8dd4db50cb59fa8cbc849735c06af7a8188fe291');
INSERT INTO history VALUES(2,'2026-11-29T10:28:32.208+00:00',NULL,NULL,'batch','',NULL,'{"config":"6f919fc787805909c478a31db5aec71836beb51795efbb5715b984f4f98be438","name":"config-6f919fc78780"}','fb025d65f75fedb0d94d2b9232c410cba8736e9d26b744d8e90c69fcbb686bba');
INSERT INTO history VALUES(3,'2026-11-29T10:28:32.208+00:00',NULL,NULL,'run','',NULL,'{"batch":"config-6f919fc78780","number":1,"overrides":[]}','c08517cc47275e7cebf49d220c62936a6ea0521033620d24a2e7a725c7a4b5c7');
INSERT INTO history VALUES(4,'2026-11-29T10:28:32.233+00:00',1,1,'claimed','claimed',1,'{"batch":"config-6f919fc78780","chip":"esp32c3","mac":"a0:76:4e:1f:e1:44","unique_id":"ce4edf5eccd97f9661abb786c9c313c5"}','5af1e8b6e6399a4fa997f243864ac6e7a382a8bfe2f122564b04d7d2e8f9a9bb');
INSERT INTO history VALUES(5,'2026-11-29T10:28:32.233+00:00',1,2,'claimed','claimed',2,'{"batch":"config-6f919fc78780","chip":"esp32c3","mac":"f4:12:fa:29:b2:cc","unique_id":"a29c0c4a3e6c4001e66ca58eed0538a2"}','f75675ac773e3987eac6638fc9eb38c78153016666d1dc7676ff42d342f3dd87');
INSERT INTO history VALUES(6,'2026-11-29T10:28:32.237+00:00',1,1,'planned','planned',1,'{"plan":"f23e0efa4561a5d9fa342284650b320a682e3885bd248661346952ed8cf0a15b","refused":"","values":{"CUSTOM_MAC":"aa:cd:ef:00:02:01"}}','9725a6643976c6d142b14945a691fbd27a148d85877a58b3de96a58d5196d57f');
INSERT INTO history VALUES(7,'2026-11-29T10:28:32.237+00:00',1,2,'planned','planned',2,'{"plan":"8c2a009234e18aa6dd918929784502319527b827cc35e994bd1ba2b8d256cb7c","refused":"","values":{"CUSTOM_MAC":"aa:cd:ef:00:02:02"}}','f9da1221985705a5f53dc42d206600daf18a4fcc007068dd1422dbc0a418fd6b');
INSERT INTO history VALUES(8,'2026-11-29T10:28:32.239+00:00',1,1,'burn-attempted','burn-attempted',1,'{"attempt":1,"bound_records":["50c8ebd8480f3d4c8e9203b22956a638ed10c1c6f2ce49bc8a02563086f56b04"],"bound_values":[["CUSTOM_MAC","aa:cd:ef:00:02:01"]],"image":"526e3fc8ce02235e82eecb5f121e6a6a77a11baab69a542ea3173773005c1149","plan":"f23e0efa4561a5d9fa342284650b320a682e3885bd248661346952ed8cf0a15b","steps":["BLOCK_USR_DATA"]}','e54bb52facc4238faeb9fb4c56dec68f99efd55a7b2ce745960cb9e3af5f11a2');
INSERT INTO history VALUES(9,'2026-11-29T10:28:32.239+00:00',1,2,'burn-attempted','burn-attempted',2,'{"attempt":2,"bound_records":["9e6bc2655ca71e13a907424f817857873eeb1ba8b495c866fa0cc0a335d277a7"],"bound_values":[["CUSTOM_MAC","aa:cd:ef:00:02:02"]],"image":"526e3fc8ce02235e82eecb5f121e6a6a77a11baab69a542ea3173773005c1149","plan":"8c2a009234e18aa6dd918929784502319527b827cc35e994bd1ba2b8d256cb7c","steps":["BLOCK_USR_DATA"]}','af59a9172851f1cf512069c0b9516cae07262536297baf849265f550941df862');
INSERT INTO history VALUES(10,'2026-11-29T10:28:32.242+00:00',1,1,'step','verified',1,'{"attempt":1,"label":"BLOCK_USR_DATA"}','51917d5b3283d5698d2d4bf8fde93c2ccc9fdff63a1f995b904e5470f881dca3');
INSERT INTO history VALUES(11,'2026-11-29T10:28:32.243+00:00',1,2,'step','verified',2,'{"attempt":2,"label":"BLOCK_USR_DATA"}','0443c8b59941ecac6f4ae101b9c85f378bc915ae652ea1cf8814128bbc370583');
INSERT INTO history VALUES(12,'2026-11-29T10:28:32.243+00:00',1,1,'passed','pass',1,'{"image":"af59bbbd65c249859eaf115e20aa7fed49abc4ba1a846a568530eba3297536de","job":"9ed1b3c96fbbb9f21d00c1adeed6d3e9a651692563ed19f7bb7a0337f9e01f37"}','173eaf6221fdceb3528a81dc2022e55008626331cbc36f55eb096d896835e92d');
INSERT INTO history VALUES(13,'2026-11-29T10:28:32.244+00:00',1,2,'passed','pass',2,'{"image":"16c4c8d4a25af4df357fda59b370d52f07e4eaae91706c16213d9a43305eccac","job":"0b933e4392d774239527cefbee661086580fc7050ed05a53b99d6fc3c9518453"}','6333acf65a94cb201e762042f61473a98bee9b990a8b40337b8157bea6fedae6');
INSERT INTO history VALUES(14,'2026-11-29T10:28:32.386+00:00',NULL,NULL,'batch','',NULL,'{"config":"a992b7829127c42aa7d99ad5492bd64a49e077017358fda58cf66f188b2e1dea","name":"config-a992b7829127"}','3498c2173e84b43ac2d7ea0cfffd83bdd8d3e3d91c5983b91664cb711913c909');
INSERT INTO history VALUES(15,'2026-11-29T10:28:32.386+00:00',NULL,NULL,'run','',NULL,'{"batch":"config-a992b7829127","number":2,"overrides":[]}','7d9d758c693eeaf8b8d3df6f557c42fee07f419759369e92786cc63fcb96d687');
INSERT INTO history VALUES(16,'2026-11-29T10:28:32.410+00:00',2,3,'claimed','claimed',1,'{"batch":"config-a992b7829127","chip":"esp32c3","mac":"30:ae:a4:11:68:5b","unique_id":"f367bf29588be859b6f6ff776938cec1"}','dfe917b28df41041051f76175833cf468b1ea170b5463a85427fee222b9ad48e');
INSERT INTO history VALUES(17,'2026-11-29T10:28:32.410+00:00',2,4,'claimed','claimed',2,'{"batch":"config-a992b7829127","chip":"esp32","mac":"ec:da:3b:82:b4:6e","unique_id":""}','409da2f121918ef786cde3d51e80b4903bc730e21114ed92b6089637be3b2622');
INSERT INTO history VALUES(18,'2026-11-29T10:28:32.413+00:00',2,3,'planned','planned',1,'{"plan":"6948c7e827928d60ad8f7c521e210515ff7659ca4f30664fad8137eae52e25b4","refused":"","values":{"CUSTOM_MAC":"aa:cd:ef:00:07:01"}}','b1a9aa6135461a47df1a7f0c26ccbb37a324f9dade17e07c40abaacc2b7a2d38');
INSERT INTO history VALUES(19,'2026-11-29T10:28:32.413+00:00',2,4,'planned','planned',2,'{"plan":"e198deacee6cd4f9a971b61dbdebb40106c9e21fbade388fddc953442ddeeafd","refused":"","values":{"CUSTOM_MAC":"aa:cd:ef:00:07:02"}}','7f287d5f06ed2157ffbe90b182f98a63f9b4953647c407c06c14fa7a8eb5282c');
INSERT INTO history VALUES(20,'2026-11-29T10:28:32.415+00:00',2,3,'burn-attempted','burn-attempted',1,'{"attempt":3,"bound_values":[["CUSTOM_MAC","aa:cd:ef:00:07:01"]],"image":"526e3fc8ce02235e82eecb5f121e6a6a77a11baab69a542ea3173773005c1149","plan":"6948c7e827928d60ad8f7c521e210515ff7659ca4f30664fad8137eae52e25b4","steps":["BLOCK_USR_DATA"]}','d41d7468206dd4035154a508e8adc984e4bf966a64bc5311bbdb022200c17267');
INSERT INTO history VALUES(21,'2026-11-29T10:28:32.416+00:00',2,4,'burn-attempted','burn-attempted',2,'{"attempt":4,"bound_values":[["CUSTOM_MAC","aa:cd:ef:00:07:02"]],"image":"82eb3df7b1dfc2f0ac21ecabe10f1035c012b1c49bf5ee61b24c25a88dbb041e","plan":"e198deacee6cd4f9a971b61dbdebb40106c9e21fbade388fddc953442ddeeafd","steps":["BLOCK3"]}','fa22884b2ae9c18a58c698ec961310fece9fc2eb9cead322aa7d34acb98a6215');
INSERT INTO history VALUES(22,'2026-11-29T10:28:32.419+00:00',2,3,'step','verified',1,'{"attempt":3,"label":"BLOCK_USR_DATA"}','fdbfcf24f122c7824ae7d5bd38ca25504bba98b049fa2592df681be645fe44c0');
INSERT INTO history VALUES(23,'2026-11-29T10:28:32.419+00:00',2,3,'passed','pass',1,'{"image":"f3123cabe94d5ba718a0978cb8fcb229372b8998680f507a507ecf41ef096f42","job":"fbc7f6858df40e5d2a78fdf8d7f5c612b7ee80b4be230f52c2b53031bf0e923a"}','9b6dea6e333eac961244a41d87d6b420eeaddd7dcc7be6104df336d476085d0d');
INSERT INTO history VALUES(24,'2026-11-29T10:28:32.429+00:00',2,4,'step','verified',2,'{"attempt":4,"label":"BLOCK3"}','aa0140479a923a4d104ae75b82e10ffbb6d42dd587e0810e056dac38ec90bdbb');
INSERT INTO history VALUES(25,'2026-11-29T10:28:32.430+00:00',2,4,'passed','pass',2,'{"image":"6a45a052e58cb79ac28bc2264f9893c450fe6df4f88c92beac0e73367b036e70","job":"fbc7f6858df40e5d2a78fdf8d7f5c612b7ee80b4be230f52c2b53031bf0e923a"}','dd047b094dc2462a83b12d504e28b8efaba97d686609b07e650a38ccca1542cc');
INSERT INTO history VALUES(26,'2026-11-29T10:28:32.569+00:00',NULL,NULL,'run','',NULL,'{"batch":"config-6f919fc78780","number":3,"overrides":[]}','8904183bc07f4e75fc3891b624aae590e566094d6841aed3153396c36c7e1745');
INSERT INTO history VALUES(27,'2026-11-29T10:28:32.593+00:00',3,1,'claimed-again','pass',1,'','05cb18967ebe427fab7369ba4f1f99ac3c10548c526b70f8e75de6426429b73b');
INSERT INTO history VALUES(28,'2026-11-29T10:28:32.596+00:00',3,1,'planned','pass',1,'{"plan":"b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919","refused":"","values":{}}','6607f78f577f87e4a09643f271a82d8e89c115faadcf958638ba0a91b895db11');
INSERT INTO history VALUES(29,'2026-11-29T10:28:32.598+00:00',3,1,'burn-attempted','burn-attempted',1,'{"attempt":5,"image":"cbff6aecdeb82bceee866a6de1028795383593e1209edbf2f7d50d713ec79d02","plan":"b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919","steps":["BLOCK0"]}','f7baca29cda51f4cd48867f00fe417536db8b59148fdb7a2e47fa3b13bd266ca');
INSERT INTO history VALUES(30,'2026-11-29T10:28:32.601+00:00',3,1,'step','verified',1,'{"attempt":5,"label":"BLOCK0"}','00bc7256893aeb02ee40a7681679262a4a2998677753b00487c401f50fce8b21');
INSERT INTO history VALUES(31,'2026-11-29T10:28:32.602+00:00',3,1,'passed','pass',1,'{"image":"746ba66231d55ca6c2516e4cf313e55a4c9b20b46687a838391a5ddc352e4d40","job":"fcf731a12305d7b413e14ff439e51784b64cb100790f488a903e6455eb9ad75b"}','3b3b2cd291f64b3c6503a9b6118e0dfa013441221c4750f71d80bc912de14dcf');
INSERT INTO history VALUES(32,'2026-11-29T10:28:32.774+00:00',NULL,NULL,'run','',NULL,'{"batch":"config-a992b7829127","number":4,"overrides":[]}','653215569cf841c39b95b25cc536b8ecafbb0e34acce122d1bc17c4c1290aa7b');
INSERT INTO history VALUES(33,'2026-11-29T10:28:32.796+00:00',4,3,'claimed-again','pass',1,'','2bcc6c4134c545dbcc6e4529de4699a59712f29b467cde24f31d375b95503085');
INSERT INTO history VALUES(34,'2026-11-29T10:28:32.799+00:00',4,3,'planned','pass',1,'{"plan":"b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919","refused":"","values":{}}','7d2c6648c533855d7784a64ba625fcaaca35d5b65a97cfceef0ab951a0f0ed70');
INSERT INTO history VALUES(35,'2026-11-29T10:28:32.801+00:00',4,3,'burn-attempted','burn-attempted',1,'{"attempt":6,"image":"cbff6aecdeb82bceee866a6de1028795383593e1209edbf2f7d50d713ec79d02","plan":"b914a32fb949dc4a69c068c6c9272566a9586b24afdb34ef25fd1f18392af919","steps":["BLOCK0"]}','1884575f5e36d3fbb9fba725c321f0ebcbedeb1822fe0a58e8fce8f264ee6ea3');
INSERT INTO history VALUES(36,'2026-11-29T10:28:32.804+00:00',4,3,'step','verified',1,'{"attempt":6,"label":"BLOCK0"}','da30b1ceb0b13d7c55f0c874df07c32a93b872801ccd168943f8acc1cef09539');
INSERT INTO history VALUES(37,'2026-11-29T10:28:32.804+00:00',4,3,'passed','pass',1,'{"image":"746ba66231d55ca6c2516e4cf313e55a4c9b20b46687a838391a5ddc352e4d40","job":"8aef0853a9b345a4d2be9211ff02093db38eecc502dba779fb86fa3f49ed6a3e"}','c257492ae7194aee0a73292d9baefd961db7bd0d7a936e43cfb101d6bf59d737');
CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL;
CREATE INDEX batch_configs_digest ON batch_configs (digest);
CREATE UNIQUE INDEX units_idx ON units (batch, idx) WHERE idx IS NOT NULL;
CREATE INDEX units_run ON units (run) WHERE run IS NOT NULL;
CREATE INDEX records_unit ON records (unit);
CREATE INDEX unique_values_value ON unique_values (name, value);
CREATE UNIQUE INDEX unique_values_bound ON unique_values (name, value) WHERE bound = 1;
CREATE INDEX attempts_unit ON attempts (unit);
CREATE TRIGGER history_stays BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
COMMIT;
