// Makes the replica set and its users where they are missing, and passes when Almanac's own URI reaches a writable primary.
// Every step can be repeated, so that a first start may be cut short anywhere. MONGO_INITDB_ROOT_* of the image is not
// used for that reason: its one attempt, once interrupted, leaves a database that nobody can log in to.
const fs = require("fs");

const NOT_AUTHENTICATED = 18;
const NOT_AUTHORIZED = 13;
const PRIMARY_SECONDS = 8;

const read = (name) => fs.readFileSync(`/run/almanac/${name}`, "utf8").trim();
const local = (options) => new Mongo(`mongodb://${options}directConnection=true&serverSelectionTimeoutMS=3000`);

function fail(reason) {
  print(reason);
  quit(1);
}

/** A replica set of this member alone, and a wait for it to be writable. */
function ensurePrimary(connection) {
  const admin = connection.getDB("admin");
  const until = Date.now() + PRIMARY_SECONDS * 1000;
  let hello = admin.hello();
  if (!hello.setName) {
    admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] } });
  }
  while (!hello.isWritablePrimary) {
    if (Date.now() > until) fail(`not a writable primary: ${hello.info ?? "it is being elected"}`);
    sleep(200);
    hello = admin.hello();
  }
}

/** A connection as root, who is made where there is no user at all: only then does mongod let one in without a name. */
function asRoot(password) {
  const login = () => local(`root:${encodeURIComponent(password)}@127.0.0.1:27017/?authSource=admin&`);
  try {
    // mongosh makes promises of such calls: one that is returned at once fails outside of this `try`.
    const known = login();
    return known;
  } catch (error) {
    if (error.code !== NOT_AUTHENTICATED) throw error;
  }
  const open = local("127.0.0.1:27017/?");
  ensurePrimary(open);
  try {
    open.getDB("admin").createUser({ user: "root", pwd: password, roles: ["root"] });
  } catch (error) {
    if (error.code === NOT_AUTHORIZED) fail("MONGO_ROOT_PASSWORD is not the one with which this database was made");
    throw error;
  }
  return login();
}

/** The user of Almanac's URI, with read and write on its database and nothing else, and with the password that the URI has. */
function ensureUser(root, uri) {
  const { username, password, pathname } = new URL(uri);
  const db = root.getDB(pathname.slice(1));
  const user = { pwd: decodeURIComponent(password), roles: [{ role: "readWrite", db: db.getName() }] };
  if (db.getUser(username)) db.updateUser(username, user);
  else db.createUser({ user: username, ...user });
}

const uri = read("MONGO_URI");
try {
  const root = asRoot(read("MONGO_ROOT_PASSWORD"));
  ensurePrimary(root);
  try {
    new Mongo(uri);
  } catch (error) {
    if (error.code !== NOT_AUTHENTICATED) throw error;
    ensureUser(root, uri);
    new Mongo(uri);
  }
} catch (error) {
  fail(`${error.codeName ?? error.name}: ${error.message}`);
}
