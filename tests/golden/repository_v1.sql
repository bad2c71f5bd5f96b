BEGIN TRANSACTION;
CREATE TABLE activities (
	ledger_id INTEGER NOT NULL, 
	activity_id TEXT NOT NULL, 
	type TEXT DEFAULT '' NOT NULL, 
	time_ns BIGINT NOT NULL, 
	symbol TEXT DEFAULT '' NOT NULL, 
	qty DOUBLE, 
	price DOUBLE, 
	net_amount DOUBLE, 
	description TEXT DEFAULT '' NOT NULL, 
	booked BOOLEAN NOT NULL, 
	PRIMARY KEY (ledger_id, activity_id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE arms (
	id INTEGER NOT NULL, 
	account_id TEXT NOT NULL, 
	strategy TEXT DEFAULT '' NOT NULL, 
	strategy_hash TEXT DEFAULT '' NOT NULL, 
	params_hash TEXT DEFAULT '' NOT NULL, 
	limits TEXT, 
	sessions INTEGER NOT NULL, 
	used INTEGER DEFAULT '0' NOT NULL, 
	until_ns BIGINT NOT NULL, 
	version TEXT DEFAULT '' NOT NULL, 
	waived TEXT, 
	typed_ns BIGINT NOT NULL, 
	host TEXT DEFAULT '' NOT NULL, 
	revoked_ns BIGINT, 
	PRIMARY KEY (id)
);
CREATE TABLE checkpoints (
	ledger_id INTEGER NOT NULL, 
	state BLOB NOT NULL, 
	updated_ns BIGINT NOT NULL, 
	PRIMARY KEY (ledger_id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
INSERT INTO "checkpoints" VALUES(1,X'7801AB564A4E2CCE50B2B2B4343030D033A8050028DD0476',1767625200123456789);
CREATE TABLE decisions (
	id INTEGER NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	session_id TEXT DEFAULT '' NOT NULL, 
	bar_time_ns BIGINT NOT NULL, 
	interval TEXT DEFAULT '' NOT NULL, 
	decided_ns BIGINT NOT NULL, 
	known_ns BIGINT, 
	status TEXT DEFAULT '' NOT NULL, 
	bars_hash TEXT DEFAULT '' NOT NULL, 
	bars_file TEXT DEFAULT '' NOT NULL, 
	feed TEXT DEFAULT '' NOT NULL, 
	strategy_hash TEXT DEFAULT '' NOT NULL, 
	targets TEXT, 
	opening BLOB, 
	PRIMARY KEY (id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE equity (
	ledger_id INTEGER NOT NULL, 
	time_ns BIGINT NOT NULL, 
	session_id TEXT DEFAULT '' NOT NULL, 
	iteration BIGINT, 
	cash DOUBLE, 
	equity DOUBLE, 
	gross DOUBLE, 
	peak DOUBLE, 
	day_start DOUBLE, 
	drawdown_pct DOUBLE, 
	daily_loss_pct DOUBLE, 
	state TEXT DEFAULT '' NOT NULL, 
	positions TEXT, 
	PRIMARY KEY (ledger_id, time_ns), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE events (
	ledger_id INTEGER NOT NULL, 
	seq BIGINT NOT NULL, 
	session_id TEXT, 
	time_ns BIGINT NOT NULL, 
	kind TEXT DEFAULT '' NOT NULL, 
	level TEXT DEFAULT '' NOT NULL, 
	data TEXT NOT NULL, 
	previous TEXT DEFAULT '' NOT NULL, 
	hash TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (ledger_id, seq), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
INSERT INTO "events" VALUES(1,1,'s-1',1767625200123456789,'session-started','info','{"x":0.1}','fb780f5e1a2b6d23e4aa4a4c688deadb3e1a284524d4ebb80eb9d98937547145','4313a81329e01d5d0c9e6c87cb47e366414fb833a9157edf416b015a04d9eb75');
INSERT INTO "events" VALUES(1,2,NULL,1767625200123456789,'fill','info','{"qty":4.0}','4313a81329e01d5d0c9e6c87cb47e366414fb833a9157edf416b015a04d9eb75','5b0ceec12b86c470bd8854296c22f23aaae94a5661134f000305606b6686cf21');
CREATE TABLE externals (
	id INTEGER NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	symbol TEXT DEFAULT '' NOT NULL, 
	qty DOUBLE NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	accepted_by TEXT DEFAULT '' NOT NULL, 
	time_ns BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE fills (
	id INTEGER NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	order_id TEXT NOT NULL, 
	cum_qty DOUBLE NOT NULL, 
	symbol TEXT DEFAULT '' NOT NULL, 
	side TEXT DEFAULT '' NOT NULL, 
	qty DOUBLE NOT NULL, 
	price DOUBLE NOT NULL, 
	time_ns BIGINT NOT NULL, 
	purpose TEXT DEFAULT '' NOT NULL, 
	uid BIGINT, 
	client_order_id TEXT DEFAULT '' NOT NULL, 
	bar_time_ns BIGINT, 
	session_id TEXT DEFAULT '' NOT NULL, 
	activity_id TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT fills_by_order UNIQUE (ledger_id, order_id, cum_qty), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
INSERT INTO "fills" VALUES(1,1,'o-1',4.0,'AAPL','buy',4.0,100.25,1767625200123456789,'entry',1,'',1767625200123456789,'s-1','');
INSERT INTO "fills" VALUES(2,1,'o-1',10.0,'AAPL','buy',6.0,101.0,1767625200123456789,'',NULL,'',NULL,'','');
CREATE TABLE intents (
	client_order_id TEXT NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	session_id TEXT DEFAULT '' NOT NULL, 
	decision_id INTEGER, 
	uid BIGINT, 
	symbol TEXT DEFAULT '' NOT NULL, 
	side TEXT DEFAULT '' NOT NULL, 
	purpose TEXT DEFAULT '' NOT NULL, 
	request TEXT, 
	qty DOUBLE, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	adds_risk BOOLEAN NOT NULL, 
	state TEXT DEFAULT '' NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	order_id TEXT DEFAULT '' NOT NULL, 
	filled_qty DOUBLE DEFAULT '0' NOT NULL, 
	created_ns BIGINT NOT NULL, 
	sent_ns BIGINT, 
	updated_ns BIGINT NOT NULL, 
	PRIMARY KEY (client_order_id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id), 
	FOREIGN KEY(decision_id) REFERENCES decisions (id)
);
INSERT INTO "intents" VALUES('c-1',1,'',NULL,NULL,'AAPL','buy','entry',NULL,10.0,0,1,'recorded','','',0.0,1767625200123456789,NULL,1767625200123456789);
CREATE TABLE leases (
	account_id TEXT NOT NULL, 
	session_id TEXT DEFAULT '' NOT NULL, 
	host TEXT DEFAULT '' NOT NULL, 
	pid BIGINT NOT NULL, 
	boot_id TEXT DEFAULT '' NOT NULL, 
	process TEXT DEFAULT '' NOT NULL, 
	lock TEXT DEFAULT '' NOT NULL, 
	takes BIGINT DEFAULT '0' NOT NULL, 
	taken_ns BIGINT NOT NULL, 
	renewed_ns BIGINT NOT NULL, 
	released_ns BIGINT, 
	PRIMARY KEY (account_id)
);
CREATE TABLE ledgers (
	id INTEGER NOT NULL, 
	venue TEXT DEFAULT '' NOT NULL, 
	account_id TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	capital DOUBLE, 
	created_ns BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (account_id, epoch)
);
INSERT INTO "ledgers" VALUES(1,'sandbox','account-1','1',100000.0,1767625200123456789);
INSERT INTO "ledgers" VALUES(2,'alpaca-paper','account-2','1',NULL,1767625200123456789);
CREATE TABLE meta (
	"key" VARCHAR(40) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('application','botlib');
INSERT INTO "meta" VALUES('schema','1');
CREATE TABLE orders (
	ledger_id INTEGER NOT NULL, 
	order_id TEXT NOT NULL, 
	client_order_id TEXT DEFAULT '' NOT NULL, 
	intent TEXT DEFAULT '' NOT NULL, 
	role TEXT DEFAULT '' NOT NULL, 
	uid BIGINT, 
	symbol TEXT DEFAULT '' NOT NULL, 
	side TEXT DEFAULT '' NOT NULL, 
	type TEXT DEFAULT '' NOT NULL, 
	qty DOUBLE, 
	limit_price DOUBLE, 
	stop_price DOUBLE, 
	status TEXT DEFAULT '' NOT NULL, 
	filled_qty DOUBLE DEFAULT '0' NOT NULL, 
	filled_avg_price DOUBLE, 
	submitted_ns BIGINT, 
	updated_ns BIGINT NOT NULL, 
	PRIMARY KEY (ledger_id, order_id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	account_id TEXT NOT NULL, 
	kind TEXT DEFAULT '' NOT NULL, 
	"by" TEXT DEFAULT '' NOT NULL, 
	note TEXT DEFAULT '' NOT NULL, 
	created_ns BIGINT NOT NULL, 
	handled_ns BIGINT, 
	outcome TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE round_trips (
	id INTEGER NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	symbol TEXT DEFAULT '' NOT NULL, 
	side TEXT DEFAULT '' NOT NULL, 
	qty DOUBLE NOT NULL, 
	entry_time_ns BIGINT NOT NULL, 
	entry_price DOUBLE NOT NULL, 
	exit_time_ns BIGINT NOT NULL, 
	exit_price DOUBLE NOT NULL, 
	pnl DOUBLE NOT NULL, 
	costs DOUBLE DEFAULT '0' NOT NULL, 
	slippage DOUBLE DEFAULT '0' NOT NULL, 
	exit_reason TEXT DEFAULT '' NOT NULL, 
	entry_uid BIGINT, 
	exit_uid BIGINT, 
	session_id TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
INSERT INTO "round_trips" VALUES(1,1,'AAPL','long',10.0,1767625200123456789,100.7,1767625260123456789,102.0,13.0,0.0,0.0,'',NULL,NULL,'');
CREATE TABLE safety (
	ledger_id INTEGER NOT NULL, 
	state TEXT DEFAULT '' NOT NULL, 
	latched BOOLEAN NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	peak DOUBLE, 
	day TEXT DEFAULT '' NOT NULL, 
	day_start DOUBLE, 
	orders_today BIGINT NOT NULL, 
	exits_today TEXT, 
	updated_ns BIGINT NOT NULL, 
	PRIMARY KEY (ledger_id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
CREATE TABLE sessions (
	id TEXT NOT NULL, 
	ledger_id INTEGER NOT NULL, 
	kind TEXT DEFAULT '' NOT NULL, 
	orders TEXT DEFAULT '' NOT NULL, 
	strategy TEXT DEFAULT '' NOT NULL, 
	strategy_hash TEXT DEFAULT '' NOT NULL, 
	params TEXT, 
	params_hash TEXT DEFAULT '' NOT NULL, 
	limits TEXT, 
	feed TEXT DEFAULT '' NOT NULL, 
	version TEXT DEFAULT '' NOT NULL, 
	host TEXT DEFAULT '' NOT NULL, 
	pid BIGINT, 
	run_folder TEXT DEFAULT '' NOT NULL, 
	started_ns BIGINT NOT NULL, 
	ended_ns BIGINT, 
	status TEXT DEFAULT '' NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	iterations BIGINT, 
	total_trades BIGINT, 
	total_pnl DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(ledger_id) REFERENCES ledgers (id)
);
INSERT INTO "sessions" VALUES('s-1',1,'paper','send','','','{"fast":10}','',NULL,'','','',NULL,'',1767625200123456789,NULL,'running','',NULL,NULL,NULL);
CREATE INDEX requests_by_account ON requests (account_id, handled_ns, id);
CREATE INDEX arms_by_account ON arms (account_id);
CREATE INDEX sessions_by_time ON sessions (ledger_id, started_ns);
CREATE UNIQUE INDEX decisions_by_bar ON decisions (ledger_id, interval, bar_time_ns);
CREATE INDEX orders_by_client ON orders (client_order_id);
CREATE INDEX orders_by_time ON orders (ledger_id, updated_ns);
CREATE INDEX orders_working ON orders (ledger_id, updated_ns) WHERE status NOT IN ('canceled', 'expired', 'filled', 'rejected', 'replaced');
CREATE INDEX fills_by_symbol ON fills (ledger_id, symbol, time_ns, id);
CREATE INDEX fills_by_time ON fills (ledger_id, time_ns, id);
CREATE INDEX round_trips_by_symbol ON round_trips (ledger_id, symbol, exit_time_ns, id);
CREATE INDEX round_trips_profit ON round_trips (ledger_id, symbol, pnl, costs, slippage);
CREATE INDEX round_trips_by_time ON round_trips (ledger_id, exit_time_ns, id);
CREATE INDEX activities_by_time ON activities (ledger_id, time_ns);
CREATE INDEX events_by_kind ON events (ledger_id, kind, seq);
CREATE INDEX events_by_time ON events (ledger_id, time_ns, seq);
CREATE INDEX externals_by_ledger ON externals (ledger_id, time_ns);
CREATE INDEX intents_by_state ON intents (ledger_id, state);
CREATE INDEX intents_by_time ON intents (ledger_id, created_ns);
CREATE INDEX intents_by_uid ON intents (ledger_id, uid);
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
COMMIT;
