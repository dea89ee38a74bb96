// Forms the replica set and makes WOTP's user. Run by mongosh; run again, it finds both done.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();

const members = ["mongodb-1", "mongodb-2", "mongodb-3"];
const root = encodeURIComponent(secret("mongodb-root-password"));

const first = new Mongo(`mongodb://root:${root}@${members[0]}/?directConnection=true`);
const set = { _id: "rs0", members: members.map((host, _id) => ({ _id, host: `${host}:27017` })) };
try {
  first.getDB("admin").runCommand({ replSetInitiate: set });
} catch (error) {
  if (error.codeName !== "AlreadyInitialized") throw error;
}

const url = `mongodb://root:${root}@${members.join(",")}/?replicaSet=rs0&serverSelectionTimeoutMS=60000`;
const wotp = new Mongo(url).getDB("wotp");
const roles = [{ role: "readWrite", db: "wotp" }, { role: "dbAdmin", db: "wotp" }];
const user = { pwd: secret("mongodb-password"), roles };
if (wotp.getUser("wotp")) {
  wotp.updateUser("wotp", user);
} else {
  wotp.createUser({ user: "wotp", ...user });
}
print("the replica set is formed, and the user wotp may use the database wotp");
