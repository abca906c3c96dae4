// ElectLeaders (43), versions 0-2. The controller decides.
//
// 0: preferred leaders only. 1: unclean elections too, a top-level error. 2: flexible.
// - A null list means every partition; of those only the ones whose leader changed or could not are
//   in the answer.
#include "server/handlers/forward.h"
#include "server/handlers/handlers.h"

namespace odradek::server {

io::Task<void> handle_elect_leaders(Request& request) { return forward_to_controller(request); }

}  // namespace odradek::server
