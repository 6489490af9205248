package liveshop.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;

/** What the jobs need of an event, picked from its JSON by a streaming parser: mapping whole objects costs more. */
public class Event {
    private static final JsonFactory JSON = new JsonFactory();
    private static final long FNV_START = 0xcbf29ce484222325L;
    private static final long FNV_PRIME = 0x100000001b3L;

    /** 64-bit hash of the event id. */
    public long id;
    /** Event time, ms. */
    public long time;
    public String session;
    /** Which count it moves: action of a view, status of a checkout, "comment". */
    public String what;
    public long amount;

    public static Event parse(byte[] value) {
        Event event = new Event();
        event.what = "";
        try (JsonParser json = JSON.createParser(value)) {
            json.nextToken();
            while (json.nextToken() == JsonToken.FIELD_NAME) {
                String name = json.currentName();
                json.nextToken();
                event.take(name, json);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return event;
    }

    private void take(String name, JsonParser json) throws IOException {
        switch (name) {
            case "event_id" -> id = hash(json.getText());
            case "event_time" -> time = json.getLongValue();
            case "session_id" -> session = json.getText();
            case "action", "status" -> what = json.getText();
            case "text" -> what = "comment";
            case "amount_minor" -> amount = json.getLongValue();
            default -> json.skipChildren();
        }
    }

    private static long hash(String text) {
        long found = FNV_START;
        for (int at = 0; at < text.length(); at++) {
            found = (found ^ text.charAt(at)) * FNV_PRIME;
        }
        return found;
    }
}
