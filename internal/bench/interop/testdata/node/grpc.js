// A pod: node grpc.js PORT MAX_AGE_MS. It echoes bytes by unary calls of gRPC.
// SIGHUP stops the server by tryShutdown and starts another.
'use strict';
const grpc = require('@grpc/grpc-js');

const asIs = (b) => b;
const age = Number(process.argv[3]);

function serve() {
  const server = new grpc.Server(age > 0 ? { 'grpc.max_connection_age_ms': age, 'grpc.max_connection_age_grace_ms': 5000 } : {});
  server.addService(
    {
      Ask: {
        path: '/quiz.v1.Quiz/Ask',
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    { Ask: (call, callback) => setTimeout(() => callback(null, call.request), 2) },
  );
  server.bindAsync(`127.0.0.1:${process.argv[2]}`, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err) throw err;
    console.log('listening');
  });
  process.once('SIGHUP', () => server.tryShutdown(serve));
}
serve();
