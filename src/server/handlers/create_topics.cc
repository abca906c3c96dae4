// CreateTopics (19), versions 2-7. The controller decides.
//
// 2: is the lowest that Kafka 4 speaks. 4: −1 for partitions or replicas means the defaults of the
// broker. 5: the answer tells partitions, replicas and settings. 6: throttling errors. 7: topic
// ids.
// - `timeoutMs` is not waited for here: the answer comes when the records are committed and every
//   loop serves the topic.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_create_topics(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
