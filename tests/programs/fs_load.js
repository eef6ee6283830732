// A load of file-system calls for test_node.py, each checked; what it prints is the same wherever io_uring is.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');

const FILES = 40;
const ROUNDS = 2;

// Contents that follow from the name: any mix-up shows
function contents(name, size) {
  const key = crypto.createHash('sha256').update(name).digest();
  return crypto.createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

async function fails(promise, code) {
  await assert.rejects(promise, { code });
}

async function one(index, round) {
  const name = `dir${index % 4}/file${index}`;
  const moved = `${name}.moved${round}`;
  const data = contents(`${index}/${round}`, 1000 + index * 2311);
  const cut = Math.floor(data.length / 3);
  await fails(fs.promises.stat(moved), 'ENOENT');
  const file = await fs.promises.open(name, 'wx+', 0o640);
  await fails(fs.promises.open(name, 'wx'), 'EEXIST');
  assert.strictEqual((await file.write(data, cut, data.length - cut, cut)).bytesWritten, data.length - cut);
  assert.strictEqual((await file.writev([data.subarray(0, 7), data.subarray(7, cut)], 0)).bytesWritten, cut);
  await (round % 2 ? file.sync() : file.datasync());
  assert.strictEqual((await file.stat()).size, data.length);
  const back = Buffer.alloc(data.length);
  assert.strictEqual((await file.read(back, 0, back.length, 0)).bytesRead, data.length);
  assert(back.equals(data), name);
  const parts = [Buffer.alloc(11), Buffer.alloc(data.length)];
  assert.strictEqual((await file.readv(parts, 5)).bytesRead, data.length - 5);
  assert(Buffer.concat(parts).subarray(0, data.length - 5).equals(data.subarray(5)), name);
  await file.close();
  await fs.promises.rename(name, moved);
  await fails(fs.promises.lstat(name), 'ENOENT');
  await fs.promises.link(moved, `${name}.link`);
  await fs.promises.symlink(`file${index}.moved${round}`, name);
  assert((await fs.promises.lstat(name)).isSymbolicLink());
  const stat = await fs.promises.stat(name);
  assert.deepStrictEqual([stat.size, stat.mode & 0o777, stat.nlink], [data.length, 0o640, 2]);
  assert((await fs.promises.readFile(name)).equals(data), name);
  await fs.promises.unlink(name);
  await fs.promises.unlink(`${name}.link`);
  if (round < ROUNDS - 1) await fs.promises.unlink(moved);
}

async function streamed(index) {
  const data = contents(`stream${index}`, 300000);
  await new Promise((resolve, reject) => {
    fs.createWriteStream(`stream${index}`).on('error', reject).on('finish', resolve).end(data);
  });
  const hash = crypto.createHash('sha256');
  for await (const chunk of fs.createReadStream(`stream${index}`, { highWaterMark: 5000 })) hash.update(chunk);
  assert.strictEqual(hash.digest('hex'), crypto.createHash('sha256').update(data).digest('hex'));
}

// What was queued on this process's rings: fdinfo of the kernel's, the text of ours
function queued() {
  const mount = process.env.URINGFS_TRAP_MOUNT;
  let sum = 0;
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    let link = '';
    try {
      link = fs.readlinkSync(`/proc/self/fd/${fd}`);
    } catch { /* of the directory, which is closed by now */ }
    if (mount ? !link.startsWith(mount) : link !== 'anon_inode:[io_uring]') continue;
    const text = fs.readFileSync(mount ? `/proc/self/fd/${fd}` : `/proc/self/fdinfo/${fd}`, 'utf8');
    sum += Number(/^SqTail:\s*(\d+)/m.exec(text)[1]);
  }
  return sum;
}

async function main() {
  for (let i = 0; i < 4; i++) fs.mkdirSync(`dir${i}`);
  const streams = Promise.all([0, 1, 2].map(streamed));
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(Array.from({ length: FILES }, (_, index) => one(index, round)));
  }
  await streams;
  const names = fs.readdirSync('.', { recursive: true }).filter((name) => fs.statSync(name).isFile()).sort();
  const all = crypto.createHash('sha256');
  for (const name of names) all.update(name).update(fs.readFileSync(name));
  console.log(names.length, all.digest('hex'));
  console.log(queued());
}

main();
